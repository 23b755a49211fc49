/* writer DEVICE BLOCKS SECONDS: numbered blocks of 4 KiB, one after the other and round and round, each on the disk
 * (O_DIRECT, O_DSYNC) before its number is printed. The last line is `gap MICROSECONDS`: the longest time from one
 * write's end to the next one's. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096 };

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int main(int count, char **words)
{
    static uint64_t block[BLOCK / 8] __attribute__((aligned(BLOCK)));
    int64_t gap = 0, last, end;
    int disk = count == 4 ? open(words[1], O_WRONLY | O_DIRECT | O_DSYNC) : -1;

    if (disk < 0) {
        perror("writer DEVICE BLOCKS SECONDS");
        return 1;
    }
    last = now_us();
    end = last + atoll(words[3]) * 1000000;
    for (uint64_t number = 1; last < end; number++) {
        for (int i = 0; i < BLOCK / 8; i++)
            block[i] = number;
        if (pwrite(disk, block, BLOCK, number % atoll(words[2]) * BLOCK) != BLOCK) {
            perror("write");
            return 1;
        }
        int64_t done = now_us();
        if (done - last > gap)
            gap = done - last;
        last = done;
        printf("%llu\n", (unsigned long long)number);
        fflush(stdout);
    }
    printf("gap %lld\n", (long long)gap);
    return 0;
}
