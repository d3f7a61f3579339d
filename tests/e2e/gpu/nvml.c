/* A stand-in for NVIDIA's library, which answers as the file beside it says: `libnvml.so` reads `libnvml.so.says`.
 *
 * A line is `key value`: of the library (`init`, `driver`, `count`, `hang`), of a card (`0.temp 41`), of a part of one
 * (`0.1.used 1024`). A value `!15` is answered with that error; a key that is missing is not supported. The file is read
 * anew whenever it changes, and must be put there whole, by renaming. While it says `hang 1` every call waits. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CARDS 16
#define PARTS 8
#define LINES 1024
#define OK 0
#define INVALID 2
#define UNSUPPORTED 3
#define NOT_FOUND 6
#define TOO_SMALL 7
#define TIMEOUT 10

typedef unsigned int u32;
typedef unsigned long long u64;
typedef struct { int card, part; } device;

static device devices[CARDS][PARTS + 1];
static struct { char key[32], value[96]; } lines[LINES];
static int line_count;
static struct timespec read_at;
static long read_size;
static u64 told[CARDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void read_anew(void) {
  static char path[4096];
  if (!path[0]) {
    Dl_info self;
    if (!dladdr((void *)read_anew, &self)) return;
    snprintf(path, sizeof path, "%s.says", self.dli_fname);
  }
  struct stat now;
  if (stat(path, &now)) return;
  if (now.st_size == read_size && !memcmp(&now.st_mtim, &read_at, sizeof read_at)) return;
  FILE *file = fopen(path, "r");
  if (!file) return;
  line_count = 0;
  while (line_count < LINES && fscanf(file, " %31s %95[^\n]", lines[line_count].key, lines[line_count].value) == 2) line_count++;
  fclose(file);
  read_at = now.st_mtim;
  read_size = now.st_size;
}

/* Copies the value of a key; 0, or why there is none. */
static int said(const char *key, char *value, size_t room) {
  int code = UNSUPPORTED;
  pthread_mutex_lock(&lock);
  read_anew();
  for (int i = 0; i < line_count; i++) {
    if (strcmp(lines[i].key, key)) continue;
    code = lines[i].value[0] == '!' ? atoi(lines[i].value + 1) : OK;
    snprintf(value, room, "%s", lines[i].value);
    break;
  }
  pthread_mutex_unlock(&lock);
  return code;
}

static u64 number_or(const char *key, u64 otherwise) {
  char value[96];
  return said(key, value, sizeof value) ? otherwise : strtoull(value, 0, 10);
}

static void hang(void) {
  while (number_or("hang", 0)) usleep(2000);
}

static void key_of(const device *of, const char *what, char key[32]) {
  if (of->part < 0) snprintf(key, 32, "%d.%s", of->card, what);
  else snprintf(key, 32, "%d.%d.%s", of->card, of->part, what);
}

/* What a card says of something, as text. A card that is lost says nothing else. */
static int text_of(const device *of, const char *what, char *value, size_t room) {
  char key[32], why[96];
  hang();
  snprintf(key, sizeof key, "%d.lost", of->card);
  int lost = said(key, why, sizeof why);
  if (lost && lost != UNSUPPORTED) return lost;
  key_of(of, what, key);
  return said(key, value, room);
}

static int number_of(const device *of, const char *what, u64 *number) {
  char value[96];
  int code = text_of(of, what, value, sizeof value);
  if (!code) *number = strtoull(value, 0, 10);
  return code;
}

static int small_of(const device *of, const char *what, u32 *number) {
  u64 wide;
  int code = number_of(of, what, &wide);
  if (!code) *number = (u32)wide;
  return code;
}

static int library(const char *key, char *value, u32 room) {
  hang();
  return said(key, value, room);
}

int nvmlInit_v2(void) {
  hang();
  return (int)number_or("init", OK);
}
int nvmlShutdown(void) { return OK; }
int nvmlSystemGetDriverVersion(char *value, u32 room) { return library("driver", value, room); }
int nvmlSystemGetNVMLVersion(char *value, u32 room) { return library("nvml", value, room); }

int nvmlDeviceGetCount_v2(u32 *count) {
  char value[96];
  int code = library("count", value, sizeof value);
  if (!code) *count = (u32)atoi(value);
  return code;
}

int nvmlDeviceGetHandleByIndex_v2(u32 index, device **out) {
  char value[96];
  if (index >= number_or("count", 0) || index >= CARDS) return INVALID;
  device *of = &devices[index][0];
  of->card = (int)index;
  of->part = -1;
  int code = text_of(of, "handle", value, sizeof value);
  if (code && code != UNSUPPORTED) return code;
  *out = of;
  return OK;
}

int nvmlDeviceGetUUID(device *of, char *value, u32 room) { return text_of(of, "uuid", value, room); }
int nvmlDeviceGetName(device *of, char *value, u32 room) { return text_of(of, "name", value, room); }

typedef struct { char old[16]; u32 domain, bus, device, id, sub; char bus_id[32]; } pci;
int nvmlDeviceGetPciInfo_v3(device *of, pci *out) {
  memset(out, 0, sizeof *out);
  return text_of(of, "pci", out->bus_id, sizeof out->bus_id);
}

int nvmlDeviceGetUtilizationRates(device *of, u32 out[2]) {
  int code = small_of(of, "util", &out[0]);
  if (!code && small_of(of, "mem_util", &out[1])) out[1] = 0;
  return code;
}

typedef struct { u32 version; u64 total, reserved, free, used; } memory;
int nvmlDeviceGetMemoryInfo_v2(device *of, memory *out) {
  int code = number_of(of, "total", &out->total);
  if (code) return code;
  if (number_of(of, "used", &out->used)) out->used = 0;
  if (number_of(of, "reserved", &out->reserved)) out->reserved = 0;
  out->free = out->total - out->used - out->reserved;
  return OK;
}

int nvmlDeviceGetTemperature(device *of, int sensor, u32 *out) { return sensor ? INVALID : small_of(of, "temp", out); }
int nvmlDeviceGetPowerUsage(device *of, u32 *out) { return small_of(of, "power", out); }
int nvmlDeviceGetEnforcedPowerLimit(device *of, u32 *out) { return small_of(of, "limit", out); }
int nvmlDeviceGetTotalEnergyConsumption(device *of, u64 *out) { return number_of(of, "energy", out); }
int nvmlDeviceGetClockInfo(device *of, int kind, u32 *out) {
  return kind == 1 ? small_of(of, "sm", out) : kind == 2 ? small_of(of, "memclk", out) : UNSUPPORTED;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(device *of, u64 *out) { return number_of(of, "throttle", out); }
int nvmlDeviceGetPcieReplayCounter(device *of, u32 *out) { return small_of(of, "replays", out); }

int nvmlDeviceGetTotalEccErrors(device *of, int kind, int since, u64 *out) {
  return number_of(of, kind ? (since ? "ecc_ue_agg" : "ecc_ue_vol") : (since ? "ecc_ce_agg" : "ecc_ce_vol"), out);
}

int nvmlDeviceGetRetiredPages(device *of, int cause, u32 *count, u64 *addresses) {
  (void)addresses;
  return small_of(of, cause ? "retired_double" : "retired_single", count);
}
int nvmlDeviceGetRetiredPages_v2(device *of, int cause, u32 *count, u64 *addresses, u64 *times) {
  int code = nvmlDeviceGetRetiredPages(of, cause, count, addresses);
  for (u32 i = 0; !code && i < *count; i++) addresses[i] = times[i] = i;
  return code;
}
int nvmlDeviceGetRetiredPagesPendingStatus(device *of, int *out) {
  u32 pending;
  int code = small_of(of, "retired_pending", &pending);
  if (!code) *out = (int)pending;
  return code;
}

typedef struct { u32 id, scope; long long time, latency; int kind, code; u64 value; } field;
int nvmlDeviceGetFieldValues(device *of, int count, field *fields) {
  for (int i = 0; i < count; i++) {
    static const struct { u32 id; const char *name; } known[] = {
      {82, "mem_temp"}, {142, "rows_correctable"}, {143, "rows_uncorrectable"}, {144, "rows_pending"}, {145, "rows_failed"}};
    fields[i].code = UNSUPPORTED;
    fields[i].kind = 3;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
      if (known[k].id == fields[i].id) fields[i].code = number_of(of, known[k].name, &fields[i].value);
  }
  return OK;
}

typedef struct { u32 pid; u64 used; u32 instance, part; } process;
/* `pids 7:1024 9:2048` */
static int processes(device *of, const char *what, u32 *count, process *out) {
  char value[96], *rest;
  int code = text_of(of, what, value, sizeof value);
  if (code) return code;
  u32 found = 0, room = *count;
  for (char *word = strtok_r(value, " ", &rest); word; word = strtok_r(0, " ", &rest), found++) {
    if (found >= room) continue;
    out[found].pid = (u32)atoi(word);
    out[found].used = strtoull(strchr(word, ':') + 1, 0, 10);
    out[found].instance = out[found].part = ~0u;
  }
  *count = found;
  return found > room ? TOO_SMALL : OK;
}
int nvmlDeviceGetComputeRunningProcesses_v3(device *of, u32 *count, process *out) { return processes(of, "pids", count, out); }
int nvmlDeviceGetGraphicsRunningProcesses_v3(device *of, u32 *count, process *out) { return processes(of, "drawing", count, out); }

int nvmlDeviceGetMigMode(device *of, u32 *current, u32 *pending) {
  int code = small_of(of, "mig", current);
  if (!code) *pending = *current;
  return code;
}
int nvmlDeviceGetMaxMigDeviceCount(device *of, u32 *count) { return small_of(of, "parts", count); }
int nvmlDeviceGetMigDeviceHandleByIndex(device *of, u32 index, device **out) {
  char value[96];
  if (index >= PARTS) return INVALID;
  device *part = &devices[of->card][index + 1];
  part->card = of->card;
  part->part = (int)index;
  int code = text_of(part, "uuid", value, sizeof value);
  *out = part;
  return code == UNSUPPORTED ? NOT_FOUND : code;
}
int nvmlDeviceGetGpuInstanceId(device *of, u32 *out) { return small_of(of, "instance", out); }

int nvmlDeviceGetSupportedEventTypes(device *of, u64 *out) {
  *out = 0;
  u64 heard;
  if (!number_of(of, "xids", &heard)) *out = 8;
  return OK;
}
int nvmlDeviceRegisterEvents(device *of, u64 types, void *set) {
  (void)types, (void)set;
  u32 refused;
  return small_of(of, "deaf", &refused) ? OK : (int)refused;
}
int nvmlEventSetCreate(void **set) {
  *set = &devices;
  return OK;
}
int nvmlEventSetFree(void *set) { return set ? OK : INVALID; }

typedef struct { device *of; u64 kind, data; u32 instance, part; } event;
/* A card's `xids` is how many it has had, `xid` the code of the next. */
int nvmlEventSetWait_v2(void *set, event *out, u32 millis) {
  (void)set;
  for (u32 waited = 0; waited <= millis; waited += 2) {
    for (int card = 0; card < CARDS && card < (int)number_or("count", 0); card++) {
      char key[32];
      snprintf(key, sizeof key, "%d.xids", card);
      if (number_or(key, 0) <= told[card]) continue;
      told[card]++;
      snprintf(key, sizeof key, "%d.xid", card);
      *out = (event){&devices[card][0], 8, number_or(key, 999), ~0u, ~0u};
      return OK;
    }
    usleep(2000);
  }
  return TIMEOUT;
}
