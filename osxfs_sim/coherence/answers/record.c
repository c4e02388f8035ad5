/* Takes down what a program is told about files that the host changes meanwhile.
 *
 * Preloaded into every process of a workload. Calls are passed on to libc or the kernel as
 * they are; where one was about a name of the table that names.py has made, a record of fixed
 * size (log.py reads it) goes into a file of the process's own, mapped into memory, so that
 * neither a crash nor exec loses any, and no system call is made for it. A call about any
 * other name costs the search in that table.
 *
 * Not seen: what bypasses libc (static programs, io_uring), what libc does within itself
 * (the reads of stdio, glob, nftw, realpath), and descriptors after exec.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

/* The operations, and the record: log.py has the same. */
enum { LOOK = 1, STAT, FSTAT, READ, LISTED, LIST_END, OWN, UNKNOWN };

struct record {
    uint16_t op, error;
    uint32_t path;
    uint64_t call_ns, return_ns, opened_call_ns, opened_return_ns;
    int64_t size; /* STAT, FSTAT: of the file; READ: its offset */
    int64_t more; /* STAT, FSTAT: mtime in ns; READ: how many bytes came */
    uint32_t crc; /* READ: of these bytes */
    uint32_t number; /* LISTED, LIST_END: the listing; READ: 1 if fewer came than asked for */
};
_Static_assert(sizeof(struct record) == 64, "log.py reads 64 bytes");

struct slot {
    uint64_t hash;
    uint32_t index_plus_1, offset, length, unused;
};
struct table {
    char magic[8];
    uint64_t slots, blob, files; /* names from number *files* on are directories */
};

enum { RECORDS = 16384, DESCRIPTORS = 4096, LISTINGS = 64 };

static const struct table *table;
static char root[PATH_MAX];
static size_t root_length;
static const char *directory;
static long owner; /* the process whose memory this is */
static char own_library[PATH_MAX], own_directory[PATH_MAX + 32], own_root[PATH_MAX + 32];
static int wants_missing;
static uint32_t crc_table[256];

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct record *chunk;
static uint32_t used;
static unsigned sequence;
static atomic_uint listing_number;

static struct {
    uint32_t path_plus_1;
    uint64_t call_ns, return_ns;
} descriptors[DESCRIPTORS];

static struct {
    DIR *stream;
    uint32_t path, number;
    uint64_t call_ns;
    char name[PATH_MAX];
} *listings;
static atomic_int listings_open;

static long kernel(long number, long a, long b, long c, long d, long e, long f)
{
    static long (*real)(long, ...);
    if (!real)
        real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    return real(number, a, b, c, d, e, f);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void after_fork(void)
{
    /* The child writes a file of its own. */
    chunk = NULL;
    owner = kernel(SYS_getpid, 0, 0, 0, 0, 0, 0);
    pthread_mutex_init(&mutex, NULL);
}

__attribute__((constructor)) static void begin(void)
{
    directory = getenv("OSXFS_SIM_ANSWERS");
    const char *where = getenv("OSXFS_SIM_ANSWERS_ROOT");
    char path[PATH_MAX];
    if (!directory || !where || strlen(where) >= sizeof root)
        return;
    directory = strdup(directory);
    Dl_info here;
    if (dladdr((void *)begin, &here) && strlen(here.dli_fname) < sizeof own_library)
        strcpy(own_library, here.dli_fname);
    snprintf(own_directory, sizeof own_directory, "OSXFS_SIM_ANSWERS=%s", directory);
    snprintf(own_root, sizeof own_root, "OSXFS_SIM_ANSWERS_ROOT=%s", where);
    strcpy(root, where);
    root_length = strlen(root);
    snprintf(path, sizeof path, "%s/wants-missing", directory);
    wants_missing = !kernel(SYS_faccessat, AT_FDCWD, (long)path, F_OK, 0, 0, 0);
    snprintf(path, sizeof path, "%s/names", directory);
    int fd = (int)kernel(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
    if (fd < 0)
        return;
    struct stat status;
    if (!kernel(SYS_fstat, fd, (long)&status, 0, 0, 0, 0)) {
        void *at = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (at != MAP_FAILED && !memcmp(at, "OSXNAMES", 8)) {
            for (uint32_t i = 0; i < 256; i++) {
                uint32_t value = i;
                for (int bit = 0; bit < 8; bit++)
                    value = value & 1 ? 0xEDB88320u ^ (value >> 1) : value >> 1;
                crc_table[i] = value;
            }
            listings = calloc(LISTINGS, sizeof *listings);
            /* exec keeps the process's number: its listings shall not be taken for ours. */
            listing_number = (unsigned)(now_ns() >> 10);
            pthread_atfork(NULL, NULL, after_fork);
            owner = kernel(SYS_getpid, 0, 0, 0, 0, 0, 0);
            table = at;
        }
    }
    kernel(SYS_close, fd, 0, 0, 0, 0, 0);
}

/* The number of a name relative to the root, or -1. */
static int64_t number_of(const char *name, size_t length)
{
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)name[i]) * 0x100000001B3u;
    const struct slot *slots = (const void *)(table + 1);
    const char *blob = (const char *)table + table->blob;
    for (uint64_t at = hash & (table->slots - 1);; at = (at + 1) & (table->slots - 1)) {
        if (!slots[at].index_plus_1)
            return -1;
        if (slots[at].hash == hash && slots[at].length == length &&
            !memcmp(blob + slots[at].offset, name, length))
            return (int64_t)slots[at].index_plus_1 - 1;
    }
}

/* What PATH is relative to the root; NULL if it is not below it. Links are not followed. */
static const char *within_root(int at, const char *path, char whole[static 2 * PATH_MAX])
{
    size_t length = 0;
    if (!path || !*path || strlen(path) >= PATH_MAX)
        return NULL;
    if (*path != '/') {
        long got;
        if (at == AT_FDCWD) {
            got = kernel(SYS_getcwd, (long)whole, PATH_MAX, 0, 0, 0, 0) - 1;
        } else {
            char link[32];
            snprintf(link, sizeof link, "/proc/self/fd/%d", at);
            got = kernel(SYS_readlinkat, AT_FDCWD, (long)link, (long)whole, PATH_MAX - 1, 0, 0);
        }
        if (got <= 0)
            return NULL;
        length = (size_t)got;
        if (length == 1)
            length = 0;
    }
    size_t given = length; /* what is above it is no component of PATH, and so no link */
    while (*path) {
        while (*path == '/')
            path++;
        size_t part = strcspn(path, "/");
        if (part == 2 && path[0] == '.' && path[1] == '.') {
            if (length > given)
                return NULL; /* whether that is its parent, only the kernel can tell */
            while (length && whole[--length] != '/')
                ;
            given = length;
        } else if (part && !(part == 1 && path[0] == '.')) {
            whole[length++] = '/';
            memcpy(whole + length, path, part);
            length += part;
        }
        path += part;
    }
    whole[length] = 0;
    if (length < root_length || memcmp(whole, root, root_length))
        return NULL;
    if (whole[root_length] == '/')
        return whole + root_length + 1;
    return whole[root_length] ? NULL : whole + root_length;
}

/* What is asked for in vain, and what the workload makes or removes itself, of names that are in
 * no table: a line each, in a file of that KIND. Only where somebody wants to know it, in a run
 * that is not measured. */
static void take_down(const char *kind, const char *name)
{
    char path[PATH_MAX], line[PATH_MAX + 2];
    snprintf(path, sizeof path, "%s/%s", directory, kind);
    int fd = (int)kernel(SYS_openat, AT_FDCWD, (long)path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
                         0666, 0, 0);
    if (fd < 0)
        return;
    int length = snprintf(line, sizeof line, "%s\n", name);
    kernel(SYS_write, fd, (long)line, length, 0, 0, 0);
    kernel(SYS_close, fd, 0, 0, 0, 0, 0);
}

static int64_t find_for(int at, const char *path, const char *kind)
{
    char whole[2 * PATH_MAX];
    if (!table)
        return -1;
    const char *name = within_root(at, path, whole);
    int64_t number = name ? number_of(name, strlen(name)) : -1;
    if (wants_missing && name && number < 0 && kind)
        take_down(kind, name);
    return number;
}

/* Of a call that has asked for the name, and was answered with ERROR. */
static int64_t find_asked(int at, const char *path, int error)
{
    return find_for(at, path, error == ENOENT ? "missing" : NULL);
}

/* Of a call by which the workload makes or removes the name. */
static int64_t find_made(int at, const char *path) { return find_for(at, path, "made"); }

static void put(struct record record)
{
    /* Of directories only listings are judged, and that the workload moves or removes them. */
    if (record.path >= table->files && record.op != LIST_END && record.op != OWN &&
        record.op != LISTED)
        return;
    pthread_mutex_lock(&mutex);
    if (!chunk || used == RECORDS) {
        char path[PATH_MAX];
        int fd;
        do {
            snprintf(path, sizeof path, "%s/%ld-%u.log", directory,
                     kernel(SYS_getpid, 0, 0, 0, 0, 0, 0), sequence++);
            fd = (int)kernel(SYS_openat, AT_FDCWD, (long)path,
                             O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666, 0, 0);
        } while (fd < 0 && errno == EEXIST);
        chunk = NULL;
        if (fd >= 0) {
            size_t size = RECORDS * sizeof(struct record);
            if (!kernel(SYS_ftruncate, fd, (long)size, 0, 0, 0, 0)) {
                void *at = (void *)kernel(SYS_mmap, 0, (long)size, PROT_READ | PROT_WRITE,
                                          MAP_SHARED, fd, 0);
                chunk = at == MAP_FAILED ? NULL : at;
            }
            kernel(SYS_close, fd, 0, 0, 0, 0, 0);
        }
        used = 0;
    }
    if (chunk)
        chunk[used++] = record;
    pthread_mutex_unlock(&mutex);
}

static void note(int op, int64_t path, int error, uint64_t call_ns)
{
    if (path >= 0)
        put((struct record){.op = (uint16_t)op, .error = (uint16_t)error, .path = (uint32_t)path,
                            .call_ns = call_ns, .return_ns = now_ns()});
}

#define FORWARD(result, name, ...) \
    static __typeof__(name) *real; \
    if (!real) \
        real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name); \
    uint64_t call_ns = now_ns(); \
    result = real(__VA_ARGS__); \
    uint64_t return_ns = now_ns(); \
    int error = errno; \
    (void)call_ns, (void)return_ns

static int is_open(int fd)
{
    return table && fd >= 0 && fd < DESCRIPTORS && descriptors[fd].path_plus_1;
}

static int64_t number_of_open(int fd)
{
    return is_open(fd) ? (int64_t)descriptors[fd].path_plus_1 - 1 : -1;
}

static void forget(int fd)
{
    /* The child of a vfork has descriptors of its own, and our memory. */
    if (is_open(fd) && kernel(SYS_getpid, 0, 0, 0, 0, 0, 0) == owner)
        descriptors[fd].path_plus_1 = 0;
}

/* opening */

static void opened(int fd, int at, const char *path, int flags, uint64_t call_ns,
                   uint64_t return_ns, int error)
{
    forget(fd);
    int own = fd >= 0 && (flags & __O_TMPFILE) != __O_TMPFILE &&
              ((flags & O_ACCMODE) != O_RDONLY || flags & (O_TRUNC | O_CREAT));
    int64_t number = flags & O_CREAT ? find_made(at, path)
                                     : find_asked(at, path, fd < 0 ? error : 0);
    if (number >= 0) {
        put((struct record){.op = own ? OWN : LOOK, .error = fd < 0 ? (uint16_t)error : 0,
                            .path = (uint32_t)number, .call_ns = call_ns, .return_ns = return_ns});
        if (fd >= 0 && fd < DESCRIPTORS) {
            descriptors[fd].call_ns = call_ns;
            descriptors[fd].return_ns = return_ns;
            descriptors[fd].path_plus_1 = (uint32_t)number + 1;
        }
    }
    errno = error;
}

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) \
    { \
        va_list arguments; \
        va_start(arguments, flags); \
        mode_t mode = mode_of(flags, arguments); \
        va_end(arguments); \
        int fd; \
        FORWARD(fd, name, path, flags, mode); \
        opened(fd, AT_FDCWD, path, flags, call_ns, return_ns, error); \
        return fd; \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int at, const char *path, int flags, ...) \
    { \
        va_list arguments; \
        va_start(arguments, flags); \
        mode_t mode = mode_of(flags, arguments); \
        va_end(arguments); \
        int fd; \
        FORWARD(fd, name, at, path, flags, mode); \
        opened(fd, at, path, flags, call_ns, return_ns, error); \
        return fd; \
    }
OPENAT(openat)
OPENAT(openat64)

#define OPEN_2(name) \
    int name(const char *path, int flags); \
    int name(const char *path, int flags) \
    { \
        int fd; \
        FORWARD(fd, name, path, flags); \
        opened(fd, AT_FDCWD, path, flags, call_ns, return_ns, error); \
        return fd; \
    }
OPEN_2(__open_2)
OPEN_2(__open64_2)

#define OPENAT_2(name) \
    int name(int at, const char *path, int flags); \
    int name(int at, const char *path, int flags) \
    { \
        int fd; \
        FORWARD(fd, name, at, path, flags); \
        opened(fd, at, path, flags, call_ns, return_ns, error); \
        return fd; \
    }
OPENAT_2(__openat_2)
OPENAT_2(__openat64_2)

#define CREAT(name) \
    int name(const char *path, mode_t mode) \
    { \
        int fd; \
        FORWARD(fd, name, path, mode); \
        opened(fd, AT_FDCWD, path, O_WRONLY | O_CREAT, call_ns, return_ns, error); \
        return fd; \
    }
CREAT(creat)
CREAT(creat64)

#define FOPEN(name) \
    FILE *name(const char *path, const char *mode) \
    { \
        FILE *stream; \
        FORWARD(stream, name, path, mode); \
        int reads = mode[0] == 'r' && !strchr(mode, '+'); \
        if (stream) \
            forget(fileno(stream)); \
        note(reads || !stream ? LOOK : OWN, \
             reads ? find_asked(AT_FDCWD, path, stream ? 0 : error) : find_made(AT_FDCWD, path), \
             stream ? 0 : error, call_ns); \
        errno = error; \
        return stream; \
    }
FOPEN(fopen)
FOPEN(fopen64)

int close(int fd)
{
    int result;
    forget(fd); /* before it: another thread may get the number at once */
    FORWARD(result, close, fd);
    errno = error;
    return result;
}

int fclose(FILE *stream)
{
    int result;
    forget(fileno(stream));
    FORWARD(result, fclose, stream);
    errno = error;
    return result;
}

/* What makes a descriptor of a regular file out of our sight: the number may have been another's.
 * Those of pipes and sockets show when they are read (got()). */
#define MAKER(name, parameters, ...) \
    int name parameters; \
    int name parameters \
    { \
        int result; \
        FORWARD(result, name, __VA_ARGS__); \
        forget(result); \
        errno = error; \
        return result; \
    }
MAKER(mkstemp, (char *form), form)
MAKER(mkstemp64, (char *form), form)
MAKER(mkostemp, (char *form, int flags), form, flags)
MAKER(mkostemp64, (char *form, int flags), form, flags)
MAKER(mkstemps, (char *form, int length), form, length)
MAKER(mkstemps64, (char *form, int length), form, length)
MAKER(mkostemps, (char *form, int length, int flags), form, length, flags)
MAKER(mkostemps64, (char *form, int length, int flags), form, length, flags)
MAKER(memfd_create, (const char *named, unsigned flags), named, flags)

static void copied(int from, int to)
{
    if (to < 0 || to >= DESCRIPTORS || from == to ||
        (table && kernel(SYS_getpid, 0, 0, 0, 0, 0, 0) != owner))
        return;
    if (from >= 0 && from < DESCRIPTORS)
        descriptors[to] = descriptors[from];
    else
        forget(to);
}

int dup(int fd)
{
    int result;
    FORWARD(result, dup, fd);
    copied(fd, result);
    errno = error;
    return result;
}

int dup2(int fd, int to)
{
    int result;
    FORWARD(result, dup2, fd, to);
    copied(fd, result);
    errno = error;
    return result;
}

int dup3(int fd, int to, int flags)
{
    int result;
    FORWARD(result, dup3, fd, to, flags);
    copied(fd, result);
    errno = error;
    return result;
}

#define FCNTL(name) \
    int name(int fd, int what, ...) \
    { \
        va_list arguments; \
        va_start(arguments, what); \
        void *argument = va_arg(arguments, void *); \
        va_end(arguments); \
        int result; \
        FORWARD(result, name, fd, what, argument); \
        if (what == F_DUPFD || what == F_DUPFD_CLOEXEC) \
            copied(fd, result); \
        errno = error; \
        return result; \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

/* attributes: straight from the kernel, because old libcs have no function of that name */

static void told(int fd, int64_t number, int64_t mode, int64_t size, int64_t mtime_ns, int result,
                 uint64_t call_ns, uint64_t return_ns, int error)
{
    struct record record = {.op = fd >= 0 ? FSTAT : STAT, .call_ns = call_ns,
                            .return_ns = return_ns, .path = (uint32_t)number};
    if (fd >= 0) {
        record.opened_call_ns = descriptors[fd].call_ns;
        record.opened_return_ns = descriptors[fd].return_ns;
    }
    if (result) {
        record.error = (uint16_t)error;
    } else if (S_ISREG(mode)) {
        record.size = size;
        record.more = mtime_ns;
    } else {
        record.op = LOOK;
    }
    if (record.op != LOOK || fd < 0)
        put(record);
}

static int look(int at, const char *path, void *into, int flags)
{
    uint64_t call_ns = now_ns();
    int result = (int)kernel(SYS_newfstatat, at, (long)path, (long)into, flags, 0, 0);
    uint64_t return_ns = now_ns();
    int error = errno;
    const struct stat *status = into;
    int by_descriptor = flags & AT_EMPTY_PATH && (!path || !*path);
    int64_t number = by_descriptor ? number_of_open(at)
                                   : find_asked(at, path, result ? error : 0);
    if (number >= 0)
        told(by_descriptor ? at : -1, number, result ? 0 : status->st_mode,
             result ? 0 : status->st_size,
             result ? 0 : status->st_mtim.tv_sec * 1000000000 + status->st_mtim.tv_nsec, result,
             call_ns, return_ns, error);
    errno = error;
    return result;
}

#undef stat
#undef lstat
#undef fstat
#undef fstatat
int stat(const char *path, struct stat *into) { return look(AT_FDCWD, path, into, 0); }
int stat64(const char *path, struct stat64 *into) { return look(AT_FDCWD, path, into, 0); }
int lstat(const char *path, struct stat *into)
{
    return look(AT_FDCWD, path, into, AT_SYMLINK_NOFOLLOW);
}
int lstat64(const char *path, struct stat64 *into)
{
    return look(AT_FDCWD, path, into, AT_SYMLINK_NOFOLLOW);
}
int fstat(int fd, struct stat *into) { return look(fd, "", into, AT_EMPTY_PATH); }
int fstat64(int fd, struct stat64 *into) { return look(fd, "", into, AT_EMPTY_PATH); }
int fstatat(int at, const char *path, struct stat *into, int flags)
{
    return look(at, path, into, flags);
}
int fstatat64(int at, const char *path, struct stat64 *into, int flags)
{
    return look(at, path, into, flags);
}
#define OLD(name, type, parameters, ...) \
    int name parameters; \
    int name parameters \
    { \
        (void)version; \
        return look(__VA_ARGS__); \
    }
OLD(__xstat, stat, (int version, const char *path, struct stat *into), AT_FDCWD, path, into, 0)
OLD(__xstat64, stat64, (int version, const char *path, struct stat64 *into), AT_FDCWD, path, into,
    0)
OLD(__lxstat, stat, (int version, const char *path, struct stat *into), AT_FDCWD, path, into,
    AT_SYMLINK_NOFOLLOW)
OLD(__lxstat64, stat64, (int version, const char *path, struct stat64 *into), AT_FDCWD, path, into,
    AT_SYMLINK_NOFOLLOW)
OLD(__fxstat, stat, (int version, int fd, struct stat *into), fd, "", into, AT_EMPTY_PATH)
OLD(__fxstat64, stat64, (int version, int fd, struct stat64 *into), fd, "", into, AT_EMPTY_PATH)
OLD(__fxstatat, stat, (int version, int at, const char *path, struct stat *into, int flags), at,
    path, into, flags)
OLD(__fxstatat64, stat64, (int version, int at, const char *path, struct stat64 *into, int flags),
    at, path, into, flags)

static long look_x(int at, const char *path, int flags, unsigned mask, struct statx *into)
{
    uint64_t call_ns = now_ns();
    long result = kernel(SYS_statx, at, (long)path, flags, mask, (long)into, 0);
    uint64_t return_ns = now_ns();
    int error = errno;
    int by_descriptor = flags & AT_EMPTY_PATH && (!path || !*path);
    int64_t number = by_descriptor ? number_of_open(at)
                                   : find_asked(at, path, result ? error : 0);
    const unsigned needed = STATX_TYPE | STATX_SIZE | STATX_MTIME;
    if (number >= 0 && !result &&
        ((into->stx_mask & mask & needed) != needed || flags & AT_STATX_DONT_SYNC)) {
        if (!by_descriptor && !(flags & AT_STATX_DONT_SYNC)) /* who asks so takes old answers */
            note(LOOK, number, 0, call_ns);
    } else if (number >= 0) {
        told(by_descriptor ? at : -1, number, result ? 0 : into->stx_mode,
             result ? 0 : (int64_t)into->stx_size,
             result ? 0 : into->stx_mtime.tv_sec * 1000000000 + into->stx_mtime.tv_nsec,
             (int)result, call_ns, return_ns, error);
    }
    errno = error;
    return result;
}

int statx(int at, const char *path, int flags, unsigned mask, struct statx *into)
{
    return (int)look_x(at, path, flags, mask, into);
}

long syscall(long number, ...)
{
    long a[6];
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number == SYS_statx) /* libuv asks so */
        return look_x((int)a[0], (const char *)a[1], (int)a[2], (unsigned)a[3],
                      (struct statx *)a[4]);
    if (number == SYS_close) /* and closes so */
        forget((int)a[0]);
    if (number == SYS_close_range)
        for (unsigned long fd = (unsigned)a[0]; fd <= (unsigned)a[1] && fd < DESCRIPTORS; fd++)
            forget((int)fd);
    long result = kernel(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    int error = errno;
    if (number == SYS_dup || number == SYS_dup3)
        copied((int)a[0], (int)result);
    errno = error;
    return result;
}

int close_range(unsigned first, unsigned last, int flags)
{
    int result;
    for (unsigned fd = first; fd <= last && fd < DESCRIPTORS; fd++)
        if (!(flags & 4)) /* CLOSE_RANGE_CLOEXEC closes nothing yet */
            forget((int)fd);
    FORWARD(result, close_range, first, last, flags);
    errno = error;
    return result;
}

/* existence */

#define ASK(name, at, parameters, ...) \
    int name parameters \
    { \
        int result; \
        FORWARD(result, name, __VA_ARGS__); \
        note(LOOK, find_asked(at, path, result ? error : 0), result ? error : 0, call_ns); \
        errno = error; \
        return result; \
    }
ASK(access, AT_FDCWD, (const char *path, int mode), path, mode)
ASK(euidaccess, AT_FDCWD, (const char *path, int mode), path, mode)
ASK(eaccess, AT_FDCWD, (const char *path, int mode), path, mode)
ASK(faccessat, at, (int at, const char *path, int mode, int flags), at, path, mode, flags)

#define READLINK(name, at, parameters, ...) \
    ssize_t name parameters \
    { \
        ssize_t result; \
        FORWARD(result, name, __VA_ARGS__); \
        /* EINVAL: it is there, and no link */ \
        int known = result >= 0 || error == EINVAL; \
        note(LOOK, find_asked(at, path, known ? 0 : error), known ? 0 : error, call_ns); \
        errno = error; \
        return result; \
    }
READLINK(readlink, AT_FDCWD, (const char *path, char *into, size_t size), path, into, size)
READLINK(readlinkat, at, (int at, const char *path, char *into, size_t size), at, path, into, size)

/* contents */

static void got(int fd, const struct iovec *pieces, int count, ssize_t result, int64_t offset,
                uint64_t call_ns, uint64_t return_ns)
{
    if (result < 0)
        return;
    int64_t asked = 0;
    size_t left = (size_t)result;
    uint32_t crc = 0xFFFFFFFFu;
    for (int i = 0; i < count; i++) {
        const unsigned char *bytes = pieces[i].iov_base;
        asked += (int64_t)pieces[i].iov_len;
        for (size_t at = 0; at < pieces[i].iov_len && left; at++, left--)
            crc = crc_table[(crc ^ bytes[at]) & 255] ^ (crc >> 8);
    }
    if (!asked)
        return;
    if (offset < 0) {
        long at = kernel(SYS_lseek, fd, 0, SEEK_CUR, 0, 0, 0);
        if (at < result) { /* a pipe or a socket, of which we have not seen that it was made */
            forget(fd);
            return;
        }
        offset = at - result;
    }
    put((struct record){.op = READ, .path = descriptors[fd].path_plus_1 - 1, .call_ns = call_ns,
                        .return_ns = return_ns, .opened_call_ns = descriptors[fd].call_ns,
                        .opened_return_ns = descriptors[fd].return_ns, .size = offset,
                        .more = result, .crc = ~crc, .number = result < asked});
}

#define READING(name, parameters, offset, bytes, space, ...) \
    ssize_t name parameters; \
    ssize_t name parameters \
    { \
        ssize_t result; \
        FORWARD(result, name, __VA_ARGS__); \
        if (is_open(fd)) { \
            struct iovec piece = {bytes, space}; \
            got(fd, &piece, 1, result, offset, call_ns, return_ns); \
        } \
        errno = error; \
        return result; \
    }
READING(read, (int fd, void *into, size_t size), -1, into, size, fd, into, size)
READING(__read_chk, (int fd, void *into, size_t size, size_t room), -1, into, size, fd, into, size,
        room)
READING(pread, (int fd, void *into, size_t size, off_t at), at, into, size, fd, into, size, at)
READING(pread64, (int fd, void *into, size_t size, off64_t at), at, into, size, fd, into, size, at)
READING(__pread_chk, (int fd, void *into, size_t size, off_t at, size_t room), at, into, size, fd,
        into, size, at, room)
READING(__pread64_chk, (int fd, void *into, size_t size, off64_t at, size_t room), at, into, size,
        fd, into, size, at, room)

#define READING_V(name, parameters, offset, ...) \
    ssize_t name parameters \
    { \
        ssize_t result; \
        FORWARD(result, name, __VA_ARGS__); \
        if (is_open(fd)) \
            got(fd, pieces, count, result, offset, call_ns, return_ns); \
        errno = error; \
        return result; \
    }
READING_V(readv, (int fd, const struct iovec *pieces, int count), -1, fd, pieces, count)
READING_V(preadv, (int fd, const struct iovec *pieces, int count, off_t at), at, fd, pieces, count,
          at)
READING_V(preadv64, (int fd, const struct iovec *pieces, int count, off64_t at), at, fd, pieces,
          count, at)

/* What is told without a copy cannot be judged. */

#define MAPPING(name, type) \
    void *name(void *hint, size_t size, int protection, int flags, int fd, type offset) \
    { \
        if (!(flags & MAP_ANONYMOUS) && is_open(fd)) \
            note(flags & MAP_SHARED && protection & PROT_WRITE ? OWN : UNKNOWN, \
                 descriptors[fd].path_plus_1 - 1, 0, now_ns()); \
        return (void *)kernel(SYS_mmap, (long)hint, (long)size, protection, flags, fd, offset); \
    }
MAPPING(mmap, off_t)
MAPPING(mmap64, off64_t)

#define SENDING(name, parameters, from, ...) \
    ssize_t name parameters \
    { \
        ssize_t result; \
        FORWARD(result, name, __VA_ARGS__); \
        if (is_open(from)) \
            note(UNKNOWN, descriptors[from].path_plus_1 - 1, 0, call_ns); \
        errno = error; \
        return result; \
    }
SENDING(sendfile, (int to, int from, off_t *at, size_t size), from, to, from, at, size)
SENDING(sendfile64, (int to, int from, off64_t *at, size_t size), from, to, from, at, size)
SENDING(copy_file_range,
        (int from, off64_t *at, int to, off64_t *to_at, size_t size, unsigned flags), from, from,
        at, to, to_at, size, flags)

/* listings */

static void list_from(DIR *stream, int64_t number, const char *name, uint64_t call_ns)
{
    if (!stream || number < 0 || !listings)
        return;
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < LISTINGS; i++) {
        if (!listings[i].stream) {
            listings[i].stream = stream;
            listings[i].path = (uint32_t)number;
            listings[i].number = ++listing_number;
            listings[i].call_ns = call_ns;
            strcpy(listings[i].name, name);
            listings_open++;
            break;
        }
    }
    pthread_mutex_unlock(&mutex);
}

DIR *opendir(const char *path)
{
    DIR *stream;
    FORWARD(stream, opendir, path);
    if (table) {
        char whole[2 * PATH_MAX];
        const char *name = within_root(AT_FDCWD, path, whole);
        int64_t number = name ? number_of(name, strlen(name)) : -1;
        if (number >= 0 && strlen(name) < PATH_MAX)
            list_from(stream, number, name, call_ns);
    }
    errno = error;
    return stream;
}

DIR *fdopendir(int fd)
{
    DIR *stream;
    FORWARD(stream, fdopendir, fd);
    if (is_open(fd)) {
        char whole[2 * PATH_MAX];
        const char *name = within_root(fd, ".", whole);
        if (name && strlen(name) < PATH_MAX)
            list_from(stream, descriptors[fd].path_plus_1 - 1, name, descriptors[fd].call_ns);
    }
    errno = error;
    return stream;
}

static int listing_of(DIR *stream)
{
    if (!listings_open)
        return -1;
    for (int i = 0; i < LISTINGS; i++)
        if (listings[i].stream == stream)
            return i;
    return -1;
}

#define READDIR(function, type) \
    struct type *function(DIR *stream) \
    { \
        int before = errno; \
        errno = 0; \
        struct type *entry; \
        FORWARD(entry, function, stream); \
        int at = listing_of(stream); \
        if (at >= 0 && entry) { \
            char whole[2 * PATH_MAX]; \
            int length = snprintf(whole, sizeof whole, "%s%s%s", listings[at].name, \
                                  *listings[at].name ? "/" : "", entry->d_name); \
            int64_t number = number_of(whole, (size_t)length); \
            if (number >= 0) \
                put((struct record){.op = LISTED, .path = (uint32_t)number, \
                                    .call_ns = listings[at].call_ns, .return_ns = return_ns, \
                                    .number = listings[at].number}); \
        } else if (at >= 0 && !error) { \
            put((struct record){.op = LIST_END, .path = listings[at].path, \
                                .call_ns = listings[at].call_ns, .return_ns = return_ns, \
                                .number = listings[at].number}); \
        } \
        errno = entry || !error ? before : error; \
        return entry; \
    }
READDIR(readdir, dirent)
READDIR(readdir64, dirent64)

void rewinddir(DIR *stream)
{
    static __typeof__(rewinddir) *real;
    if (!real)
        real = (__typeof__(rewinddir) *)dlsym(RTLD_NEXT, "rewinddir");
    int at = listing_of(stream);
    if (at >= 0) { /* another listing begins */
        listings[at].number = ++listing_number;
        listings[at].call_ns = now_ns();
    }
    real(stream);
}

int closedir(DIR *stream)
{
    int result;
    int at = listing_of(stream);
    if (at >= 0) {
        listings[at].stream = NULL;
        listings_open--;
    }
    forget(dirfd(stream));
    FORWARD(result, closedir, stream);
    errno = error;
    return result;
}

/* libc's own does not go through the functions above; libuv uses it. */
#define SCANDIR(name, type, one) \
    int name(const char *path, struct type ***into, int (*chosen)(const struct type *), \
             int (*order)(const struct type **, const struct type **)) \
    { \
        DIR *stream = opendir(path); \
        if (!stream) \
            return -1; \
        struct type **list = NULL, *entry; \
        size_t count = 0, room = 0; \
        int before = errno; \
        for (errno = 0; (entry = one(stream)); errno = 0) { \
            if (chosen && !chosen(entry)) \
                continue; \
            if (count == room) { \
                room = room ? 2 * room : 16; \
                struct type **larger = realloc(list, room * sizeof *list); \
                if (!larger) \
                    break; \
                list = larger; \
            } \
            if (!(list[count] = malloc(entry->d_reclen))) \
                break; \
            memcpy(list[count++], entry, entry->d_reclen); \
        } \
        int error = entry ? ENOMEM : errno; \
        closedir(stream); \
        if (error) { \
            while (count) \
                free(list[--count]); \
            free(list); \
            errno = error; \
            return -1; \
        } \
        if (order && count) \
            qsort(list, count, sizeof *list, (int (*)(const void *, const void *))order); \
        *into = list; \
        errno = before; \
        return (int)count; \
    }
SCANDIR(scandir, dirent, readdir)
SCANDIR(scandir64, dirent64, readdir64)

/* the workload's own changes */

/* Times and size of a directory do not matter to what is in it. */
static void note_own_file(int64_t number, uint64_t call_ns)
{
    if (number >= 0 && (uint64_t)number < table->files)
        note(OWN, number, 0, call_ns);
}

#define CHANGE_AS(noting, name, at, parameters, ...) \
    int name parameters \
    { \
        int result; \
        FORWARD(result, name, __VA_ARGS__); \
        if (!result) /* git, for one, tries to remove directories that are not empty */ \
            noting; \
        errno = error; \
        return result; \
    }
#define CHANGE(name, at, parameters, ...) \
    CHANGE_AS(note(OWN, find_made(at, path), 0, call_ns), name, at, parameters, __VA_ARGS__)
#define CHANGE_OF_A_FILE(name, at, parameters, ...) \
    CHANGE_AS(note_own_file(find_made(at, path), call_ns), name, at, parameters, __VA_ARGS__)
CHANGE(unlink, AT_FDCWD, (const char *path), path)
CHANGE(rmdir, AT_FDCWD, (const char *path), path)
CHANGE(remove, AT_FDCWD, (const char *path), path)
CHANGE(unlinkat, at, (int at, const char *path, int flags), at, path, flags)
CHANGE_OF_A_FILE(truncate, AT_FDCWD, (const char *path, off_t size), path, size)
CHANGE_OF_A_FILE(truncate64, AT_FDCWD, (const char *path, off64_t size), path, size)
CHANGE_OF_A_FILE(utime, AT_FDCWD, (const char *path, const struct utimbuf *times), path, times)
CHANGE_OF_A_FILE(utimes, AT_FDCWD, (const char *path, const struct timeval times[2]), path, times)
CHANGE_OF_A_FILE(utimensat, at,
       (int at, const char *path, const struct timespec times[2], int flags), at, path, times,
       flags)
CHANGE(mkdir, AT_FDCWD, (const char *path, mode_t mode), path, mode)
CHANGE(mkdirat, at, (int at, const char *path, mode_t mode), at, path, mode)
CHANGE(symlink, AT_FDCWD, (const char *to, const char *path), to, path)
CHANGE(symlinkat, at, (const char *to, int at, const char *path), to, at, path)
CHANGE(link, AT_FDCWD, (const char *from, const char *path), from, path)
CHANGE(linkat, at, (int from_at, const char *from, int at, const char *path, int flags), from_at,
       from, at, path, flags)

#define RENAME(name, from_at, at, parameters, ...) \
    int name parameters \
    { \
        int result; \
        FORWARD(result, name, __VA_ARGS__); \
        if (!result) { \
            note(OWN, find_made(from_at, from), 0, call_ns); \
            note(OWN, find_made(at, path), 0, call_ns); \
        } \
        errno = error; \
        return result; \
    }
RENAME(rename, AT_FDCWD, AT_FDCWD, (const char *from, const char *path), from, path)
RENAME(renameat, from_at, at, (int from_at, const char *from, int at, const char *path), from_at,
       from, at, path)
RENAME(renameat2, from_at, at,
       (int from_at, const char *from, int at, const char *path, unsigned flags), from_at, from,
       at, path, flags)

/* Programs of a workload may be started in an environment of their own (env -i): they are to
 * be recorded as well, so what we need is put into it. On the stack, because this may be the
 * child of a vfork. */

static size_t length_of(char *const environment[])
{
    size_t count = 0;
    while (environment && environment[count])
        count++;
    return count;
}

static size_t preload_length(char *const environment[])
{
    for (size_t i = 0; environment && environment[i]; i++)
        if (!strncmp(environment[i], "LD_PRELOAD=", 11))
            return strlen(environment[i]);
    return 0;
}

static char *const *with_ours(char *const environment[], char **list, char *preload)
{
    size_t count = 0;
    if (!table || !*own_library)
        return environment;
    sprintf(preload, "LD_PRELOAD=%s", own_library);
    for (size_t i = 0; environment && environment[i]; i++) {
        if (!strncmp(environment[i], "OSXFS_SIM_ANSWERS", 17))
            continue;
        if (!strncmp(environment[i], "LD_PRELOAD=", 11)) {
            if (strstr(environment[i], own_library))
                strcpy(preload, environment[i]);
            else if (environment[i][11])
                sprintf(preload, "LD_PRELOAD=%s:%s", own_library, environment[i] + 11);
            continue;
        }
        list[count++] = environment[i];
    }
    list[count++] = preload;
    list[count++] = own_directory;
    list[count++] = own_root;
    list[count] = NULL;
    return list;
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) \
        real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define OURS(environment) \
    char *list[length_of(environment) + 4]; \
    char preload[preload_length(environment) + sizeof own_library + 16]

int execve(const char *path, char *const words[], char *const environment[])
{
    REAL(execve);
    OURS(environment);
    return real(path, words, with_ours(environment, list, preload));
}

int execvpe(const char *file, char *const words[], char *const environment[])
{
    REAL(execvpe);
    OURS(environment);
    return real(file, words, with_ours(environment, list, preload));
}

int fexecve(int fd, char *const words[], char *const environment[])
{
    REAL(fexecve);
    OURS(environment);
    return real(fd, words, with_ours(environment, list, preload));
}

int execv(const char *path, char *const words[]) { return execve(path, words, environ); }
int execvp(const char *file, char *const words[]) { return execvpe(file, words, environ); }

#define SPAWN(name) \
    int name(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, \
             const posix_spawnattr_t *attributes, char *const words[], \
             char *const environment[]) \
    { \
        REAL(name); \
        OURS(environment); \
        return real(pid, path, actions, attributes, words, \
                    with_ours(environment, list, preload)); \
    }
SPAWN(posix_spawn)
SPAWN(posix_spawnp)
