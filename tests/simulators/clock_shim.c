/* Preloaded into a process: UTC is what a file says, and so is whether the kernel holds it to be synced. The file holds
   two signed numbers of 64 bits: nanoseconds by which UTC is ahead of the machine's, and 1 where it is synced. It may be
   written while the process runs. All other clocks, CLOCK_BOOTTIME above all, are the machine's. With CLOCK_SHIM_SHUT the
   kernel may not be asked, as in a sandbox. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

static const int64_t right[2] = {0, 1};
static const volatile int64_t *told = right;
static int (*machine)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    machine = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("CLOCK_SHIM");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        void *mapped = mmap(NULL, sizeof right, PROT_READ, MAP_SHARED, file, 0);
        if (mapped != MAP_FAILED) told = mapped;
        close(file);
    }
}

int clock_gettime(clockid_t clock, struct timespec *found) {
    int failed = machine(clock, found);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t all = (int64_t)found->tv_sec * 1000000000 + found->tv_nsec + told[0];
        found->tv_sec = all / 1000000000;
        found->tv_nsec = all % 1000000000;
    }
    return failed;
}

int gettimeofday(struct timeval *restrict found, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    found->tv_sec = now.tv_sec;
    found->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *found) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (found) *found = now.tv_sec;
    return now.tv_sec;
}

int adjtimex(struct timex *found) {
    if (getenv("CLOCK_SHIM_SHUT")) {
        errno = EPERM;
        return -1;
    }
    memset(found, 0, sizeof *found);
    found->status = told[1] ? STA_PLL : STA_UNSYNC;
    found->maxerror = told[1] ? 40000 : 16000000;
    return told[1] ? TIME_OK : TIME_ERROR;
}
