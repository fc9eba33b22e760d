/* A FAKE libnvidia-ml.so.1 for tests: two GPUs that never were, with scripted answers. Only what the samplers call is here; the
 * rest is missing, as in an old driver. Names, numbers and rules (units, codes, sizes, what a MIG slice refuses, the 100 ms between
 * two GPM readings) are NVML's: https://docs.nvidia.com/deploy/nvml-api/.
 *
 * FAKE_PIDS       compute processes on GPU 0, separated by commas
 * FAKE_THROTTLE   clocks event reasons of GPU 0, a number
 * FAKE_SLOW       a call and the milliseconds that it takes: power:150
 * FAKE_NO_DRIVER  nvmlInit fails, as where the library is but no driver
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int nvmlReturn_t;
enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9 };

/* Two GPUs, and a slice of the second. */
typedef struct device {
    int index;
    const char *uuid, *name;
    unsigned long long memory;
    struct device *whole;
    unsigned powers;
} device;
static device devices[3] = {
    {0, "GPU-fa4e0000-0000-0000-0000-00000000aaaa", "Fake H100", 80ULL << 30, NULL, 0},
    {1, "GPU-fa4e0000-0000-0000-0000-00000000bbbb", "Fake A100", 40ULL << 30, NULL, 0},
    {-1, "MIG-fa4e0000-0000-0000-0000-00000000cccc", "Fake A100 MIG 1g.5gb", 5ULL << 30, &devices[1], 0},
};

static double now(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}
static void wait_ms(double ms) {
    struct timespec pause = {(time_t)(ms / 1000), (long)((long long)(ms * 1e6) % 1000000000LL)};
    nanosleep(&pause, NULL);
}
static void be_slow(const char *call) {
    const char *slow = getenv("FAKE_SLOW");
    size_t length = strlen(call);
    if (slow && !strncmp(slow, call, length) && slow[length] == ':') wait_ms(atof(slow + length + 1));
}
static nvmlReturn_t text(char *to, unsigned length, const char *from) {
    if (strlen(from) >= length) return INSUFFICIENT_SIZE;
    strcpy(to, from);
    return SUCCESS;
}

nvmlReturn_t nvmlInit_v2(void) { return getenv("FAKE_NO_DRIVER") ? DRIVER_NOT_LOADED : SUCCESS; }
nvmlReturn_t nvmlShutdown(void) { return SUCCESS; }
nvmlReturn_t nvmlSystemGetDriverVersion(char *to, unsigned length) { return text(to, length, "580.00.fake"); }
nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 13010; return SUCCESS; }
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return SUCCESS; }
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, device **found) {
    if (index >= 2) return INVALID_ARGUMENT;
    *found = &devices[index];
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, device **found) {
    for (int at = 0; at < 3; at++)
        if (!strcmp(uuid, devices[at].uuid)) { *found = &devices[at]; return SUCCESS; }
    return NOT_FOUND;
}
nvmlReturn_t nvmlDeviceGetIndex(device *gpu, unsigned *index) {
    if (gpu->whole) return NOT_SUPPORTED;
    *index = gpu->index;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetUUID(device *gpu, char *to, unsigned length) { return text(to, length, gpu->uuid); }
nvmlReturn_t nvmlDeviceGetName(device *gpu, char *to, unsigned length) { return text(to, length, gpu->name); }
nvmlReturn_t nvmlDeviceIsMigDeviceHandle(device *gpu, unsigned *slice) { *slice = gpu->whole != NULL; return SUCCESS; }
nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device *gpu, device **whole) {
    if (!gpu->whole) return INVALID_ARGUMENT;
    *whole = gpu->whole;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMigMode(device *gpu, unsigned *current, unsigned *pending) {
    if (gpu->whole) return NOT_SUPPORTED;
    *current = *pending = gpu->index == 1;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetEccMode(device *gpu, int *current, int *pending) {
    if (gpu->index != 0) return NOT_SUPPORTED;
    *current = *pending = 1;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMaxClockInfo(device *gpu, int clock, unsigned *mhz) {
    if (gpu->whole) return NOT_SUPPORTED;
    *mhz = clock == 2 ? 2619 : 1980;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(device *gpu, unsigned *milliwatts) {
    if (gpu->whole) return NOT_SUPPORTED;
    *milliwatts = 700000;
    return SUCCESS;
}

typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2;
nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(device *gpu, memory_v2 *memory) {
    memory->total = gpu->memory;
    memory->reserved = 600ULL << 20;
    memory->used = (gpu->whole ? 1ULL : 10ULL) << 30;
    memory->free = memory->total - memory->reserved - memory->used;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetUtilizationRates(device *gpu, unsigned rates[2]) {
    if (gpu->whole) return NOT_SUPPORTED;
    rates[0] = gpu->index ? 60 : 40;
    rates[1] = 30;
    return SUCCESS;
}
/* 200, 220, … 380 W, over and over. */
nvmlReturn_t nvmlDeviceGetPowerUsage(device *gpu, unsigned *milliwatts) {
    if (gpu->whole) return NOT_SUPPORTED;
    be_slow("power");
    *milliwatts = 200000 + 20000 * (gpu->powers++ % 10);
    return SUCCESS;
}
/* 250 W. Reading it takes CPU, as in the true library. */
nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(device *gpu, unsigned long long *millijoules) {
    if (gpu->whole) return NOT_SUPPORTED;
    *millijoules = (unsigned long long)(now(CLOCK_MONOTONIC) * 250e3);
    be_slow("energy");
    for (double begin = now(CLOCK_THREAD_CPUTIME_ID); now(CLOCK_THREAD_CPUTIME_ID) < begin + 0.005;) {}
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetClockInfo(device *gpu, int clock, unsigned *mhz) {
    if (gpu->whole) return NOT_SUPPORTED;
    *mhz = clock == 2 ? 2619 : 1500 + gpu->index;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTemperature(device *gpu, int sensor, unsigned *celsius) {
    if (gpu->whole || sensor) return NOT_SUPPORTED;
    *celsius = 61 + gpu->index;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(device *gpu, unsigned long long *reasons) {
    const char *told = getenv("FAKE_THROTTLE");
    if (gpu->whole) return NOT_SUPPORTED;
    *reasons = gpu->index == 0 && told ? strtoull(told, NULL, 0) : 0;
    return SUCCESS;
}
/* KB/s, counted over the 20 ms that the call takes. */
nvmlReturn_t nvmlDeviceGetPcieThroughput(device *gpu, int counter, unsigned *kilobytes) {
    if (gpu->whole) return NOT_SUPPORTED;
    wait_ms(20);
    *kilobytes = counter ? 2000 : 1000;
    return SUCCESS;
}
typedef struct { unsigned pid; unsigned long long used; unsigned instance, compute; } process;
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(device *gpu, unsigned *count, process *list) {
    const char *told = gpu->index == 0 ? getenv("FAKE_PIDS") : NULL;
    unsigned found = 0, room = *count;
    for (const char *pid = told; pid && *pid; pid = strchr(pid, ',') ? strchr(pid, ',') + 1 : NULL) {
        if (found < room) list[found] = (process){(unsigned)atoi(pid), 1ULL << 30, ~0u, ~0u};
        found++;
    }
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}

/* GPM, on the first GPU. A sample is the time at which it was taken. */
typedef struct { unsigned version, supported; } gpm_support;
nvmlReturn_t nvmlGpmQueryDeviceSupport(device *gpu, gpm_support *support) { support->supported = gpu->index == 0; return SUCCESS; }
nvmlReturn_t nvmlGpmSampleAlloc(double **sample) { *sample = calloc(1, sizeof **sample); return SUCCESS; }
nvmlReturn_t nvmlGpmSampleFree(double *sample) { free(sample); return SUCCESS; }
nvmlReturn_t nvmlGpmSampleGet(device *gpu, double *sample) {
    if (gpu->index != 0) return NOT_SUPPORTED;
    *sample = now(CLOCK_MONOTONIC);
    return SUCCESS;
}
typedef struct { unsigned id; nvmlReturn_t code; double value; const char *names[3]; } metric;
typedef struct { unsigned version, count; double *before, *after; metric metrics[210]; } metrics;
nvmlReturn_t nvmlGpmMetricsGet(metrics *asked) {
    if (asked->version != 1 || *asked->after - *asked->before < 0.1) return INVALID_ARGUMENT;
    for (unsigned at = 0; at < asked->count; at++) {
        metric *one = &asked->metrics[at];
        one->code = SUCCESS;
        switch (one->id) {
        case 2: one->value = 41.5; break;   /* multiprocessors, percent */
        case 5: one->value = 12.25; break;  /* tensor cores, percent */
        case 10: one->value = 33.0; break;  /* memory bandwidth, percent */
        case 20: one->value = 512.0; break; /* PCIe from the GPU, MiB/s */
        case 21: one->value = 1024.0; break;
        default: one->code = NOT_SUPPORTED;
        }
    }
    return SUCCESS;
}
