/* A wall clock that is wrong: preloaded into a process (LD_PRELOAD), it moves what that process takes
 * for the date by as many milliseconds as the file that PASSERELLE_CLOCK names says: eight bytes, an
 * int64_t of this machine, mapped, so that the clock jumps the moment the file changes.
 *
 * Waits until a date behave as the kernel's do when an administrator sets the clock: they end once
 * that clock, not another, has reached the date, so a clock set back makes them longer. They wait in
 * slices on the monotonic clock, which is left alone, and look at the date after each. (A shim that
 * leaves these waits on the machine's own clock, such as libfaketime, makes librdkafka wait for ever.)
 *
 * Needs glibc 2.30 for the waits on a clock that is named. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

enum { SECOND = 1000000000, SLICE = SECOND / 20 };

/* Deadlines before the year 2001 are of a clock that began with the machine. */
static const time_t A_DATE = 1000000000;

static const volatile int64_t *shift;

__attribute__((constructor)) static void open_clock(void) {
    const char *path = getenv("PASSERELLE_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) shift = mapped;
    close(file);
}

static int64_t nanoseconds(const struct timespec *time) {
    return (int64_t)time->tv_sec * SECOND + time->tv_nsec;
}

static struct timespec timespec_of(int64_t nanoseconds) {
    struct timespec time = { nanoseconds / SECOND, nanoseconds % SECOND };
    return time;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int failed = (int)syscall(SYS_clock_gettime, clock, time);
    if (!failed && shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        *time = timespec_of(nanoseconds(time) + *shift * 1000000);
    return failed;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *kept) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (kept) *kept = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *time, int base) {
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, time) == 0 ? base : 0;
}

static int64_t now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return nanoseconds(&time);
}

/* Waits for something in slices, each until a time of the monotonic clock, until `deadline` has come
 * by the date. `WAIT` is an expression over `until`, which yields 0 or an error. */
#define UNTIL_DATE(deadline, WAIT)                                                    \
    for (;;) {                                                                        \
        int64_t left = nanoseconds(deadline) - now(CLOCK_REALTIME);                   \
        int64_t slice = left < 0 ? 0 : left < SLICE ? left : SLICE;                   \
        struct timespec until = timespec_of(now(CLOCK_MONOTONIC) + slice);            \
        int answer = WAIT;                                                            \
        if (answer != ETIMEDOUT || left <= 0) return answer;                          \
    }

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict deadline) {
    if (deadline->tv_sec < A_DATE)
        return pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, deadline);
    UNTIL_DATE(deadline, pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, &until))
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict deadline) {
    UNTIL_DATE(deadline, pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &until))
}

static int wait_for(sem_t *semaphore, const struct timespec *until) {
    return sem_clockwait(semaphore, CLOCK_MONOTONIC, until) == 0 ? 0 : errno;
}

static int wait_until(sem_t *semaphore, const struct timespec *deadline) {
    UNTIL_DATE(deadline, wait_for(semaphore, &until))
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict deadline) {
    int failed = wait_until(semaphore, deadline);
    if (failed) errno = failed;
    return failed ? -1 : 0;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *rest) {
    if (clock != CLOCK_REALTIME || !(flags & TIMER_ABSTIME))
        return syscall(SYS_clock_nanosleep, clock, flags, time, rest) == 0 ? 0 : errno;
    while (now(CLOCK_REALTIME) < nanoseconds(time)) {
        struct timespec slice = timespec_of(SLICE / 10);
        if (syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &slice, NULL) != 0) return errno;
    }
    return 0;
}

/* C11's waits: glibc's are the same objects under other names. */

static int c11(int answer) {
    return answer == 0 ? thrd_success : answer == ETIMEDOUT ? thrd_timedout : thrd_error;
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex,
                  const struct timespec *restrict deadline) {
    return c11(pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, deadline));
}

int mtx_timedlock(mtx_t *restrict mutex, const struct timespec *restrict deadline) {
    return c11(pthread_mutex_timedlock((pthread_mutex_t *)mutex, deadline));
}
