/* Mazes of 13 x 13 in plain C: what the processor can do where nothing stands between.

   The rules are those of lepton_jax: cells row by row, actions north, east, south, west; a wall is not entered; the goal
   ends an episode with reward 1, and so does the time limit with 0. Observations are three planes of 13 x 13 bytes:
   walls, goal, agent. Episodes begin on a pool of layouts, at random. Built with: cc -O3 -march=native -shared -fPIC. */

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 13, CELLS = SIDE * SIDE, ROOMS = 6, LIMIT = 284 };

typedef struct {
    uint8_t walls[CELLS];
    uint8_t start, goal;
} Level;

typedef struct {
    Level *pool;
    int levels, count, steps, threads;
    int *level;      /* (count): which layout */
    uint8_t *cell;   /* (count) */
    uint16_t *age;   /* (count) */
    uint8_t *seen;   /* (count, 3, CELLS) */
    uint64_t *random; /* (threads) */
    int64_t *ended;  /* (threads) */
} World;

static const int MOVE[4] = {-SIDE, 1, SIDE, -1};

static inline uint64_t draw(uint64_t *state) { /* xorshift64* */
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 2685821657736338717ull;
}

/* Depth first over the rooms, as a recursive backtracker goes. */
static void carve(Level *level, uint64_t *random) {
    uint8_t stack[ROOMS * ROOMS], visited[ROOMS * ROOMS] = {0};
    int depth = 0;
    memset(level->walls, 1, CELLS);
    stack[depth++] = 0;
    visited[0] = 1;
    level->walls[SIDE + 1] = 0;
    while (depth) {
        int room = stack[depth - 1], row = room / ROOMS, column = room % ROOMS, ways[4], count = 0;
        for (int way = 0; way < 4; way++) {
            int r = row + (way == 2) - (way == 0), c = column + (way == 1) - (way == 3);
            if (r >= 0 && r < ROOMS && c >= 0 && c < ROOMS && !visited[r * ROOMS + c]) ways[count++] = way;
        }
        if (!count) {
            depth--;
            continue;
        }
        int way = ways[draw(random) % count];
        int cell = (2 * row + 1) * SIDE + 2 * column + 1;
        int there = room + (way == 1) - (way == 3) + ROOMS * ((way == 2) - (way == 0));
        level->walls[cell + MOVE[way]] = 0;
        level->walls[cell + 2 * MOVE[way]] = 0;
        visited[there] = 1;
        stack[depth++] = (uint8_t)there;
    }
    uint8_t free[CELLS];
    int count = 0;
    for (int cell = 0; cell < CELLS; cell++)
        if (!level->walls[cell]) free[count++] = (uint8_t)cell;
    int start = draw(random) % count, goal = draw(random) % (count - 1);
    level->start = free[start];
    level->goal = free[goal + (goal >= start)];
}

void generate(Level *levels, int count, uint64_t seed) {
    uint64_t random = seed * 2 + 1;
    for (int n = 0; n < count; n++) carve(levels + n, &random);
}

/* One step of one maze; whether the episode has ended. */
int move(const Level *level, uint8_t *cell, uint16_t *age, int action) {
    int there = *cell + MOVE[action];
    if (!level->walls[there]) *cell = (uint8_t)there;
    *age += 1;
    return *cell == level->goal || *age >= LIMIT;
}

static void look(const Level *level, uint8_t cell, uint8_t *seen) {
    memcpy(seen, level->walls, CELLS);
    memset(seen + CELLS, 0, 2 * CELLS);
    seen[CELLS + level->goal] = 1;
    seen[2 * CELLS + cell] = 1;
}

static void begin(World *world, int n, uint64_t *random) {
    world->level[n] = (int)(draw(random) % (uint64_t)world->levels);
    world->cell[n] = world->pool[world->level[n]].start;
    world->age[n] = 0;
}

typedef struct {
    World *world;
    int number;
} Part;

static void *work(void *argument) {
    Part *part = argument;
    World *world = part->world;
    int64_t all = world->count, ended = 0;
    int first = (int)(all * part->number / world->threads), last = (int)(all * (part->number + 1) / world->threads);
    uint64_t random = world->random[part->number];
    for (int step = 0; step < world->steps; step++)
        for (int n = first; n < last; n++) {
            if (move(world->pool + world->level[n], world->cell + n, world->age + n, (int)(draw(&random) >> 62))) {
                ended++;
                begin(world, n, &random);
            }
            look(world->pool + world->level[n], world->cell[n], world->seen + (size_t)n * 3 * CELLS);
        }
    world->random[part->number] = random;
    world->ended[part->number] += ended;
    return NULL;
}

World *make(int levels, int count, int threads) {
    World *world = calloc(1, sizeof *world);
    world->levels = levels, world->count = count, world->threads = threads;
    world->pool = malloc(levels * sizeof(Level));
    generate(world->pool, levels, 1);
    world->level = malloc(count * sizeof(int));
    world->cell = malloc(count);
    world->age = malloc(count * sizeof(uint16_t));
    world->seen = malloc((size_t)count * 3 * CELLS);
    world->random = malloc(threads * sizeof(uint64_t));
    world->ended = calloc(threads, sizeof(int64_t));
    for (int n = 0; n < threads; n++) world->random[n] = 88172645463325252ull + 2654435761ull * (uint64_t)n;
    for (int n = 0; n < count; n++) begin(world, n, world->random);
    return world;
}

/* Steps all mazes; the episodes ended since the beginning. */
int64_t play(World *world, int steps) {
    pthread_t threads[64];
    Part parts[64];
    world->steps = steps;
    for (int n = 0; n < world->threads; n++) {
        parts[n] = (Part){world, n};
        if (n) pthread_create(threads + n, NULL, work, parts + n);
    }
    work(parts);
    for (int n = 1; n < world->threads; n++) pthread_join(threads[n], NULL);
    int64_t ended = 0;
    for (int n = 0; n < world->threads; n++) ended += world->ended[n];
    return ended;
}
