/* The client that latency is measured from: a small program, as real clients are not Python.
 *
 *   client MODE COUNT PATH...      one process per PATH, all started together
 *
 * MODE is how each process uses its PATH, COUNT times:
 *   stat    stat(2) of PATH, whether it exists or not
 *   write   write(2) of 1 KiB to the file PATH, which is created
 * Prints one line per call and process, "process nanoseconds", in the order of the calls,
 * and last a line "wall nanoseconds" for the time from the common start to the last end.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void use(const char *mode, const char *path, long count, int64_t *taken_ns)
{
	static char block[1024];
	struct stat status;
	int fd = -1;
	int writing = strcmp(mode, "write") == 0;

	if (writing && (fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644)) < 0) {
		perror(path);
		_exit(1);
	}
	for (long i = 0; i < count; i++) {
		int64_t start = now_ns();
		if (writing) {
			if (write(fd, block, sizeof block) != sizeof block) {
				perror("write");
				_exit(1);
			}
		} else {
			(void)stat(path, &status);
		}
		taken_ns[i] = now_ns() - start;
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	if (argc < 4 || (strcmp(argv[1], "stat") && strcmp(argv[1], "write")) || atol(argv[2]) < 1) {
		fprintf(stderr, "usage: client stat|write COUNT PATH...\n");
		return 2;
	}
	long count = atol(argv[2]);
	int processes = argc - 3;
	/* One more slot per process: when it ended. */
	size_t size = sizeof(int64_t) * (size_t)count * (size_t)processes;
	int64_t *taken_ns = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int start_line[2];
	char go;
	int failed = 0;

	if (taken_ns == MAP_FAILED || pipe(start_line)) {
		perror("client");
		return 1;
	}
	memset(taken_ns, 0, size); /* no page fault inside a measurement */
	for (int i = 0; i < processes; i++) {
		if (fork() == 0) {
			close(start_line[1]);
			(void)!read(start_line[0], &go, 1);
			use(argv[1], argv[3 + i], count, taken_ns + (size_t)i * (size_t)count);
		}
	}
	close(start_line[0]);
	usleep(20000);
	int64_t start = now_ns();
	close(start_line[1]);
	for (int i = 0; i < processes; i++) {
		int status;
		wait(&status);
		failed |= status != 0;
	}
	int64_t wall = now_ns() - start;
	for (int i = 0; i < processes; i++)
		for (long j = 0; j < count; j++)
			printf("%d %lld\n", i, (long long)taken_ns[(size_t)i * (size_t)count + (size_t)j]);
	printf("wall %lld\n", (long long)wall);
	return failed;
}
