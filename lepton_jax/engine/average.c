/* The mean of float32 arrays over the devices of one program that XLA runs on a CPU, where a device is a thread.

An XLA custom call: N arrays and (rank, ranks), int32, in; N arrays out. Every device calls it as often, and in the same
order. Threads that wait for each other spin for a moment before they sleep, for to be woken takes longer than a small
network takes to learn. Each device makes the mean of its own part of every array, in the order of ranks, so that the
bits are the same on all, and then copies the parts of the others.

C11 and POSIX threads, over the stable interface of XLA's custom calls. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "xla/ffi/api/c_api.h"

enum { MOST_RANKS = 64, MEETINGS = 64, TURNS = 400 /* of spinning, some 10 microseconds */ };

typedef struct {
  int64_t run;         /* of one execution of a program, on all of its devices */
  int inside;          /* devices that have come and not left; 0: the place is free */
  atomic_int arrived;  /* at the barrier */
  atomic_uint passed;  /* barriers */
  atomic_int asleep;   /* devices, until the next barrier is passed */
  XLA_FFI_CallFrame* calls[MOST_RANKS];
} Meeting;

static Meeting meetings[MEETINGS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of `run` and `inside` of all of them, and of sleep */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

/* The meeting of a run: the one that others wait in, or a new one. */
static Meeting* come(int64_t run) {
  Meeting* found = NULL;
  pthread_mutex_lock(&lock);
  while (!found) {
    Meeting* empty = NULL;
    for (Meeting* each = meetings; each < meetings + MEETINGS && !found; each++) {
      if (each->inside && each->run == run) found = each;
      if (!each->inside) empty = each;
    }
    if (!found) found = empty;
    if (!found) pthread_cond_wait(&changed, &lock); /* until another run leaves */
  }
  found->run = run;
  found->inside++;
  pthread_mutex_unlock(&lock);
  return found;
}

static void leave(Meeting* meeting) {
  pthread_mutex_lock(&lock);
  if (--meeting->inside == 0) pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

static void barrier(Meeting* meeting, int ranks) {
  unsigned before = atomic_load(&meeting->passed);
  if (atomic_fetch_add(&meeting->arrived, 1) == ranks - 1) {
    atomic_store(&meeting->arrived, 0);
    atomic_store(&meeting->passed, before + 1);
    if (atomic_load(&meeting->asleep)) {
      pthread_mutex_lock(&lock);
      pthread_cond_broadcast(&changed);
      pthread_mutex_unlock(&lock);
    }
    return;
  }
  for (int turn = 0; turn < TURNS; turn++) {
    if (atomic_load(&meeting->passed) != before) return;
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
  }
  /* Where there are more threads than cores the others may not run before this one stops. */
  pthread_mutex_lock(&lock);
  atomic_fetch_add(&meeting->asleep, 1);
  while (atomic_load(&meeting->passed) == before) pthread_cond_wait(&changed, &lock);
  atomic_fetch_sub(&meeting->asleep, 1);
  pthread_mutex_unlock(&lock);
}

static XLA_FFI_Buffer* argument(const XLA_FFI_CallFrame* call, int64_t k) { return call->args.args[k]; }

static float* input(const XLA_FFI_CallFrame* call, int64_t k) { return argument(call, k)->data; }

static float* output(const XLA_FFI_CallFrame* call, int64_t k) { return ((XLA_FFI_Buffer*)call->rets.rets[k])->data; }

static int64_t length(const XLA_FFI_CallFrame* call, int64_t k) {
  int64_t product = 1;
  for (int64_t axis = 0; axis < argument(call, k)->rank; axis++) product *= argument(call, k)->dims[axis];
  return product;
}

static XLA_FFI_Error* refuse(const XLA_FFI_CallFrame* call, const char* message) {
  XLA_FFI_Error_Create_Args args = {
      .struct_size = XLA_FFI_Error_Create_Args_STRUCT_SIZE,
      .message = message,
      .errc = XLA_FFI_Error_Code_INVALID_ARGUMENT,
  };
  return call->api->XLA_FFI_Error_Create(&args);
}

/* Whether all devices brought arrays of the same lengths. */
static bool alike(Meeting* meeting, int ranks, const XLA_FFI_CallFrame* mine) {
  for (int rank = 0; rank < ranks; rank++) {
    const XLA_FFI_CallFrame* theirs = meeting->calls[rank];
    if (theirs->rets.size != mine->rets.size) return false;
    for (int64_t k = 0; k < mine->rets.size; k++)
      if (length(theirs, k) != length(mine, k)) return false;
  }
  return true;
}

XLA_FFI_Error* lepton_average(XLA_FFI_CallFrame* call) {
  if (call->extension_start && call->extension_start->type == XLA_FFI_Extension_Metadata) {
    XLA_FFI_Metadata* about = ((XLA_FFI_Metadata_Extension*)call->extension_start)->metadata;
    about->api_version.major_version = XLA_FFI_API_MAJOR;
    about->api_version.minor_version = XLA_FFI_API_MINOR;
    return NULL;
  }
  int64_t arrays = call->rets.size;
  const int32_t* place = (const int32_t*)argument(call, arrays)->data;
  int rank = place[0], ranks = place[1];
  if (ranks > MOST_RANKS || rank < 0 || rank >= ranks) return refuse(call, "average: no such rank");
  XLA_FFI_RunId_Get_Args asked = {.struct_size = XLA_FFI_RunId_Get_Args_STRUCT_SIZE, .ctx = call->ctx};
  XLA_FFI_Error* error = call->api->XLA_FFI_RunId_Get(&asked);
  if (error) return error;

  Meeting* meeting = come(asked.run_id);
  meeting->calls[rank] = call;
  barrier(meeting, ranks);
  bool same = alike(meeting, ranks, call);
  const float part = 1.0f / (float)ranks; /* XLA multiplies by it, too */
  for (int64_t k = 0; same && k < arrays; k++) {
    int64_t size = length(call, k), first = size * rank / ranks, last = size * (rank + 1) / ranks;
    float* restrict out = output(call, k);
    const float *restrict a = input(meeting->calls[0], k), *restrict b = input(meeting->calls[ranks > 1], k);
    if (ranks == 2) {
      for (int64_t i = first; i < last; i++) out[i] = (a[i] + b[i]) * part;
      continue;
    }
    memcpy(out + first, a + first, (size_t)(last - first) * sizeof(float));
    for (int other = 1; other < ranks; other++) {
      const float* restrict more = input(meeting->calls[other], k);
      for (int64_t i = first; i < last; i++) out[i] += more[i];
    }
    for (int64_t i = first; i < last; i++) out[i] *= part;
  }
  barrier(meeting, ranks);
  for (int other = 0; same && other < ranks; other++) {
    if (other == rank) continue;
    for (int64_t k = 0; k < arrays; k++) {
      int64_t size = length(call, k), first = size * other / ranks, last = size * (other + 1) / ranks;
      memcpy(output(call, k) + first, output(meeting->calls[other], k) + first, (size_t)(last - first) * sizeof(float));
    }
  }
  barrier(meeting, ranks); /* the call of each is read by the others until here */
  leave(meeting);
  return same ? NULL : refuse(call, "average: devices have brought arrays of different sizes");
}
