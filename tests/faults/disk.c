/*
 * A disk that fails: loaded with LD_PRELOAD before the service, it stands between SQLite and the
 * files under one directory, and knows of each file what is durable and what is only written.
 *
 *   FAULT_DIR           absolute path of the directory; all that follows is about files in it
 *   FAULT_COUNT         file that holds the number of operations so far; it is read at the start,
 *                       so that the lives of several processes are counted through
 *   FAULT_POWER_CUT_AT  the power fails at the operation of this number
 *   FAULT_SEED          without it a power cut loses everything that was not synced; with it the
 *                       seed decides for each unsynced write whether it survives, is lost, or
 *                       survives in some of its sectors only: disks reorder and tear
 *   FAULT_CONTROL       file that names the present fault, read at each operation: nothing,
 *                       eio-write, eio-fsync, enospc, erofs, or power-cut
 *
 * Operations are pwrite, write, ftruncate, fsync, fdatasync and unlink. Of a file, its bytes
 * become durable when it is synced; its name, and that it was unlinked, when the directory is. A
 * sync that fails drops what was to be synced without a second chance, as Linux does: the process
 * still reads it, but no later sync writes it.
 *
 * Files that end in -shm are left out: SQLite maps them and makes them anew after a crash, so who
 * cuts the power removes them. What was written before the process began counts as durable. Not
 * handled, because nothing here does it: O_TRUNC on a file with content, rename, dup, mmap.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define FILES 64
#define FDS 4096
#define SECTOR 512

/* A change that no sync has made durable. */
struct change {
    struct change *next;
    off_t offset;
    size_t length;
    int truncates; /* to `offset` */
    unsigned char bytes[];
};

struct file {
    dev_t device;
    ino_t inode;
    mode_t mode;
    char path[4096];
    int name_is_durable, is_unlinked, is_gone; /* gone: unlinked, and that is durable */
    unsigned char *durable;
    size_t size, room;
    struct change *first, **end;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct file files[FILES];
static int file_count;
/* 0: none of ours; -1: the directory; else the number of the file, from 1. */
static volatile int of_fd[FDS];

static char directory[4096];
static size_t directory_length;
static int count_fd = -1, control_fd = -1;
static unsigned long count, cut_at;
static int has_seed;
static uint64_t seed;

/* ---- the operating system, without us between */

static ssize_t real_pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    return syscall(SYS_pwrite64, fd, bytes, length, offset);
}
static int real_ftruncate(int fd, off_t length) { return syscall(SYS_ftruncate, fd, length); }
static int real_open(const char *path, int flags, mode_t mode) {
    return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
static int real_close(int fd) { return syscall(SYS_close, fd); }
static int real_unlink(const char *path) { return syscall(SYS_unlinkat, AT_FDCWD, path, 0); }

static void die(const char *why) {
    dprintf(2, "disk.c: %s\n", why);
    syscall(SYS_exit_group, 99);
}

/* ---- what is durable */

static void *must(void *memory) {
    if (!memory) die("no memory");
    return memory;
}

static void resize(struct file *file, size_t size) {
    if (size > file->room) {
        file->room = size * 2;
        file->durable = must(realloc(file->durable, file->room));
    }
    if (size > file->size) memset(file->durable + file->size, 0, size - file->size);
    file->size = size;
}

static uint64_t chance(void) { /* xorshift64* */
    seed ^= seed >> 12, seed ^= seed << 25, seed ^= seed >> 27;
    return (seed * 2685821657736338717ULL) >> 33;
}

/* Makes a change durable, with `torn` only in some of its sectors. */
static void apply(struct file *file, const struct change *change, int torn) {
    size_t from = change->offset, to = from + change->length;
    if (change->truncates) {
        resize(file, from);
        return;
    }
    while (from < to) {
        size_t end = (from / SECTOR + 1) * SECTOR;
        if (end > to) end = to;
        if (!torn || chance() % 2) {
            if (end > file->size) resize(file, end);
            memcpy(file->durable + from, change->bytes + (from - change->offset), end - from);
        }
        from = end;
    }
}

static void forget_changes(struct file *file) {
    while (file->first) {
        struct change *change = file->first;
        file->first = change->next;
        free(change);
    }
    file->end = &file->first;
}

static void note(struct file *file, off_t offset, const void *bytes, size_t length, int truncates) {
    size_t kept = truncates ? 0 : length;
    struct change *change = must(malloc(sizeof *change + kept));
    *change = (struct change){.offset = offset, .length = kept, .truncates = truncates};
    if (kept) memcpy(change->bytes, bytes, kept);
    *file->end = change;
    file->end = &change->next;
}

static struct file *file_of(int fd) {
    return fd >= 0 && fd < FDS && of_fd[fd] > 0 ? &files[of_fd[fd] - 1] : NULL;
}

/* The file behind a new fd. Its bytes are durable as they are when it is seen for the first time. */
static int look_up(int fd, const char *path, int is_new) {
    struct stat status;
    if (fstat(fd, &status)) die("no fstat");
    for (int i = 0; i < file_count; i++)
        if (files[i].device == status.st_dev && files[i].inode == status.st_ino && !files[i].is_unlinked)
            return i + 1;
    if (file_count == FILES) die("too many files");
    struct file *file = &files[file_count++];
    file->device = status.st_dev, file->inode = status.st_ino, file->mode = status.st_mode & 07777;
    snprintf(file->path, sizeof file->path, "%s", path);
    file->name_is_durable = !is_new;
    file->end = &file->first;
    resize(file, status.st_size);
    if (file->size) {
        int own = real_open(path, O_RDONLY | O_CLOEXEC, 0);
        if (syscall(SYS_pread64, own, file->durable, file->size, 0L) != (ssize_t)file->size)
            die("cannot read");
        real_close(own);
    }
    return file_count;
}

/* ---- the faults */

/* Leaves in the directory what a disk would hold, and ends the process. */
static void cut_power(void) {
    for (int i = 0; i < file_count; i++) {
        struct file *file = &files[i];
        if (file->is_gone) continue;
        /* What the directory says of it: what was synced, or with a seed perhaps the news. */
        int exists = file->name_is_durable;
        if (has_seed) {
            if (exists == file->is_unlinked) exists = chance() % 2;
            for (struct change *change = file->first; change; change = change->next) {
                uint64_t fate = chance() % 3;
                if (fate) apply(file, change, fate == 1);
            }
        }
        if (!exists) {
            if (!file->is_unlinked) real_unlink(file->path);
            continue;
        }
        /* An unlinked file comes back, unless there is another of its name. */
        int flags = O_WRONLY | O_CLOEXEC | (file->is_unlinked ? O_CREAT | O_EXCL : 0);
        int fd = real_open(file->path, flags, file->mode);
        if (fd < 0) continue;
        size_t done = 0;
        while (done < file->size) {
            ssize_t wrote = real_pwrite(fd, file->durable + done, file->size - done, done);
            if (wrote <= 0) die("cannot restore");
            done += wrote;
        }
        if (real_ftruncate(fd, file->size)) die("cannot restore the size");
    }
    syscall(SYS_exit_group, 137);
}

enum kind { WRITES, SYNCS, UNLINKS };

/* Counts an operation; gives the error that it shall end with, or 0. */
static int fault(enum kind kind) {
    char text[32] = "";
    count++;
    if (count_fd >= 0) {
        int length = snprintf(text, sizeof text, "%lu\n", count);
        real_pwrite(count_fd, text, length, 0);
        text[0] = 0;
    }
    if (control_fd >= 0) {
        ssize_t length = syscall(SYS_pread64, control_fd, text, sizeof text - 1, 0L);
        text[length > 0 ? length : 0] = 0;
    }
    if (!strcmp(text, "power-cut")) cut_at = count;
    if (!strcmp(text, "erofs")) return kind == SYNCS ? 0 : EROFS;
    if (!strcmp(text, "eio-write")) return kind == WRITES ? EIO : 0;
    if (!strcmp(text, "enospc")) return kind == WRITES ? ENOSPC : 0;
    if (!strcmp(text, "eio-fsync")) return kind == SYNCS ? EIO : 0;
    return 0;
}

static void maybe_cut_power(void) {
    if (count == cut_at) cut_power();
}

__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("FAULT_DIR");
    if (!text) return;
    directory_length = snprintf(directory, sizeof directory, "%s", text);
    if ((text = getenv("FAULT_COUNT"))) {
        char number[32] = "";
        count_fd = real_open(text, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (syscall(SYS_pread64, count_fd, number, sizeof number - 1, 0L) > 0)
            count = strtoul(number, NULL, 10);
    }
    if ((text = getenv("FAULT_CONTROL"))) control_fd = real_open(text, O_RDONLY | O_CLOEXEC, 0);
    if ((text = getenv("FAULT_POWER_CUT_AT"))) cut_at = strtoul(text, NULL, 10);
    if ((text = getenv("FAULT_SEED"))) {
        has_seed = 1;
        seed = (strtoull(text, NULL, 10) + 1) * 0x9E3779B97F4A7C15ULL ^ cut_at;
        if (!seed) seed = 1;
    }
}

/* ---- what stands between */

static int is_ours(const char *path) {
    size_t length = strlen(path);
    return directory_length && length > directory_length + 1 &&
           !strncmp(path, directory, directory_length) && path[directory_length] == '/' &&
           (length < 4 || strcmp(path + length - 4, "-shm"));
}

static int opened(const char *path, int flags, mode_t mode) {
    if (directory_length && !strcmp(path, directory)) {
        int fd = real_open(path, flags, mode);
        if (fd >= 0 && fd < FDS) of_fd[fd] = -1;
        return fd;
    }
    if (!is_ours(path)) return real_open(path, flags, mode);
    pthread_mutex_lock(&mutex);
    int is_new = syscall(SYS_faccessat, AT_FDCWD, path, F_OK) != 0;
    int fd = real_open(path, flags, mode);
    if (fd >= FDS) die("too many fds");
    if (fd >= 0) of_fd[fd] = look_up(fd, path, is_new);
    pthread_mutex_unlock(&mutex);
    return fd;
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...) {                                                   \
        mode_t mode = 0;                                                                           \
        if (flags & O_CREAT) {                                                                     \
            va_list list;                                                                          \
            va_start(list, flags);                                                                 \
            mode = va_arg(list, mode_t);                                                           \
            va_end(list);                                                                          \
        }                                                                                          \
        return opened(path, flags, mode);                                                          \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    if (fd >= 0 && fd < FDS) of_fd[fd] = 0;
    return real_close(fd);
}

static ssize_t written(struct file *file, int fd, const void *bytes, size_t length, off_t offset) {
    pthread_mutex_lock(&mutex);
    ssize_t wrote = -1;
    int error = fault(WRITES);
    if (!error) {
        wrote = real_pwrite(fd, bytes, length, offset);
        error = errno;
        if (wrote > 0) note(file, offset, bytes, wrote, 0);
    }
    maybe_cut_power();
    pthread_mutex_unlock(&mutex);
    if (wrote < 0) errno = error;
    return wrote;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    struct file *file = file_of(fd);
    return file ? written(file, fd, bytes, length, offset) : real_pwrite(fd, bytes, length, offset);
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) {
    return pwrite(fd, bytes, length, offset);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    struct file *file = file_of(fd);
    if (!file) return syscall(SYS_write, fd, bytes, length);
    off_t offset = lseek(fd, 0, SEEK_CUR);
    ssize_t wrote = written(file, fd, bytes, length, offset);
    if (wrote > 0) lseek(fd, offset + wrote, SEEK_SET);
    return wrote;
}

int ftruncate(int fd, off_t length) {
    struct file *file = file_of(fd);
    if (!file) return real_ftruncate(fd, length);
    pthread_mutex_lock(&mutex);
    int result = -1, error = fault(WRITES);
    if (!error) {
        result = real_ftruncate(fd, length);
        error = errno;
        if (!result) note(file, length, NULL, 0, 1);
    }
    maybe_cut_power();
    pthread_mutex_unlock(&mutex);
    if (result) errno = error;
    return result;
}
int ftruncate64(int fd, off_t length) { return ftruncate(fd, length); }

static int synced(int fd, long call) {
    if (fd < 0 || fd >= FDS || !of_fd[fd]) return syscall(call, fd);
    pthread_mutex_lock(&mutex);
    int result = -1, error = fault(SYNCS);
    maybe_cut_power(); /* before anything became durable */
    struct file *file = file_of(fd);
    if (!error) {
        result = syscall(call, fd);
        error = errno;
    }
    if (file) {
        if (!result)
            for (struct change *change = file->first; change; change = change->next)
                apply(file, change, 0);
        forget_changes(file);
    } else if (!result) {
        for (int i = 0; i < file_count; i++) {
            files[i].name_is_durable = 1;
            files[i].is_gone = files[i].is_unlinked;
        }
    }
    pthread_mutex_unlock(&mutex);
    if (result) errno = error;
    return result;
}
int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

int unlink(const char *path) {
    if (!is_ours(path)) return real_unlink(path);
    pthread_mutex_lock(&mutex);
    int result = -1, error = fault(UNLINKS);
    if (!error) {
        result = real_unlink(path);
        error = errno;
        for (int i = 0; !result && i < file_count; i++)
            if (!strcmp(files[i].path, path)) files[i].is_unlinked = 1;
    }
    maybe_cut_power();
    pthread_mutex_unlock(&mutex);
    if (result) errno = error;
    return result;
}
