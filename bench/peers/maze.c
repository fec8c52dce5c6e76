/* Mazes of 13 x 13 in plain C: what the processor can do where nothing stands between.

   The rules are those of lepton_jax: cells row by row, actions north, east, south, west; a wall is not entered; the goal
   ends an episode with reward 1, and so does the time limit with 0. Observations are three planes of 13 x 13 bytes:
   walls, goal, agent. Episodes begin on a pool of levels, at random. Built with: cc -O3 -march=native -shared -fPIC. */

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 13, CELLS = SIDE * SIDE, ROOMS = 6, EDGES = 2 * ROOMS * (ROOMS - 1), LIMIT = 284, THREADS = 64 };

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
    int64_t *ended, *solved; /* (threads) */
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

static inline int below(uint64_t *random, int most) { /* 0 to most - 1; uneven by less than most / 2^32 */
    return (int)((draw(random) >> 32) * (uint64_t)most >> 32);
}

static uint64_t scattered(uint64_t seed) { /* splitmix64: neighbouring seeds far apart, and none of them 0 */
    uint64_t x = (seed + 1) * 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return (x ^ (x >> 31)) | 1;
}

static inline int cell_of(int room) { return (2 * (room / ROOMS) + 1) * SIDE + 2 * (room % ROOMS) + 1; }

static int root(uint8_t *tree, int room) {
    while (tree[room] != room) room = tree[room] = tree[tree[room]];
    return room;
}

/* A random spanning tree of the rooms by Kruskal's algorithm: walls between rooms in random order, each opened if it
   divides what does not hang together yet. Start and goal are two of the rooms. */
static void carve(Level *level, uint64_t *random) {
    uint8_t rooms[EDGES], ways[EDGES], tree[ROOMS * ROOMS];
    int edges = 0, left = ROOMS * ROOMS - 1;
    memset(level->walls, 1, CELLS);
    for (int room = 0; room < ROOMS * ROOMS; room++) {
        tree[room] = (uint8_t)room;
        level->walls[cell_of(room)] = 0;
        if (room % ROOMS < ROOMS - 1) rooms[edges] = (uint8_t)room, ways[edges++] = 1;
        if (room / ROOMS < ROOMS - 1) rooms[edges] = (uint8_t)room, ways[edges++] = 2;
    }
    while (left) {
        int n = below(random, edges), room = rooms[n], way = ways[n];
        edges--;
        rooms[n] = rooms[edges], ways[n] = ways[edges];
        int a = root(tree, room), b = root(tree, room + (way == 1 ? 1 : ROOMS));
        if (a == b) continue;
        tree[a] = (uint8_t)b;
        level->walls[cell_of(room) + MOVE[way]] = 0;
        left--;
    }
    int start = below(random, ROOMS * ROOMS), goal = below(random, ROOMS * ROOMS - 1);
    level->start = (uint8_t)cell_of(start);
    level->goal = (uint8_t)cell_of(goal + (goal >= start));
}

typedef struct {
    Level *levels;
    int count;
    uint64_t random;
} Batch;

static void *carve_all(void *argument) {
    Batch *batch = argument;
    for (int n = 0; n < batch->count; n++) carve(batch->levels + n, &batch->random);
    return NULL;
}

void generate(Level *levels, int count, uint64_t seed, int threads) {
    pthread_t others[THREADS];
    Batch batches[THREADS];
    for (int n = 0; n < threads; n++) {
        int first = (int)((int64_t)count * n / threads), last = (int)((int64_t)count * (n + 1) / threads);
        batches[n] = (Batch){levels + first, last - first, scattered(seed * THREADS + (uint64_t)n)};
        if (n) pthread_create(others + n, NULL, carve_all, batches + n);
    }
    carve_all(batches);
    for (int n = 1; n < threads; n++) pthread_join(others[n], NULL);
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
    world->level[n] = below(random, world->levels);
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
    int64_t all = world->count, ended = 0, solved = 0;
    int first = (int)(all * part->number / world->threads), last = (int)(all * (part->number + 1) / world->threads);
    uint64_t random = world->random[part->number];
    for (int step = 0; step < world->steps; step++)
        for (int n = first; n < last; n++) {
            if (move(world->pool + world->level[n], world->cell + n, world->age + n, (int)(draw(&random) >> 62))) {
                ended++;
                solved += world->cell[n] == world->pool[world->level[n]].goal;
                begin(world, n, &random);
            }
            look(world->pool + world->level[n], world->cell[n], world->seen + (size_t)n * 3 * CELLS);
        }
    world->random[part->number] = random;
    world->ended[part->number] += ended;
    world->solved[part->number] += solved;
    return NULL;
}

World *make(int levels, int count, int threads) {
    World *world = calloc(1, sizeof *world);
    world->levels = levels, world->count = count, world->threads = threads;
    world->pool = malloc(levels * sizeof(Level));
    generate(world->pool, levels, 1, threads);
    world->level = malloc(count * sizeof(int));
    world->cell = malloc(count);
    world->age = malloc(count * sizeof(uint16_t));
    world->seen = malloc((size_t)count * 3 * CELLS);
    world->random = malloc(threads * sizeof(uint64_t));
    world->ended = calloc(threads, sizeof(int64_t)), world->solved = calloc(threads, sizeof(int64_t));
    for (int n = 0; n < threads; n++) world->random[n] = scattered((uint64_t)n);
    for (int n = 0; n < count; n++) begin(world, n, world->random);
    return world;
}

/* Steps all mazes. told: episodes that have ended since the beginning, and at their goals. */
void play(World *world, int steps, int64_t told[2]) {
    pthread_t others[THREADS];
    Part parts[THREADS];
    world->steps = steps;
    for (int n = 0; n < world->threads; n++) {
        parts[n] = (Part){world, n};
        if (n) pthread_create(others + n, NULL, work, parts + n);
    }
    work(parts);
    for (int n = 1; n < world->threads; n++) pthread_join(others[n], NULL);
    told[0] = told[1] = 0;
    for (int n = 0; n < world->threads; n++) told[0] += world->ended[n], told[1] += world->solved[n];
}
