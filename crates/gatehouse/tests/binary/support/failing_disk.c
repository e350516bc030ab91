/* A disk that fails on demand: while the file that DISK_FAULT names holds an error number, what is written at a place in a
   file fails with it. Only a database writes so. Loaded before the C library (LD_PRELOAD). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static int fault(void) {
    const char *path = getenv("DISK_FAULT");
    char digits[8] = {0};
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    ssize_t length = read(file, digits, sizeof digits - 1);
    close(file);
    return length > 0 ? atoi(digits) : 0;
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
    ssize_t (*write)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite");
    int error = fault();
    if (error == 0) return write(file, bytes, count, at);
    errno = error;
    return -1;
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    ssize_t (*write)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
    int error = fault();
    if (error == 0) return write(file, bytes, count, at);
    errno = error;
    return -1;
}
