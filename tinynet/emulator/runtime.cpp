// A GPU of one core that watches what a kernel does.
//
// The threads of a block are fibers in one thread of the operating system: each runs until it ends
// or meets a barrier, then the next has its turn. The order, of blocks too, is shuffled again at
// every barrier, by a seed.
//
// The kernel is compiled with -fsanitize=thread and parts of -fsanitize=undefined, but not linked
// with their libraries: the calls that the compiler put before every access to memory arrive at the
// functions below. They know every array that the kernel was given, and stop it before
//   - an access outside of them, or an access that is not aligned
//   - an access to shared memory that another thread wrote, or a write to what another thread read,
//     with no barrier between them; and the same in global memory, where no barrier would help
//     across blocks
//   - a read of shared memory that nobody has written to since the block began
//   - an index past the end of a shared array, an int that overflows, a division by zero
//   - a barrier that not all threads of the block come to
//   - a matrix instruction or a shuffle that not all threads of the warp come to
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <algorithm>
#include <map>
#include <random>
#include <tuple>
#include <vector>
#include <sys/mman.h>
#include <ucontext.h>

struct uint3_ { unsigned int x, y, z; };
extern "C" {
uint3_ threadIdx, blockIdx, blockDim, gridDim;  // the kernel sees them as const
extern char __start_emulated_shared[] __attribute__((weak)),
    __stop_emulated_shared[] __attribute__((weak));

// Of each array: how often it was read and written, by how many instructions of warps, how many
// sectors of 32 bytes these touched, and how few would have been enough for the same numbers.
struct Traffic { unsigned long long accesses, requests, sectors, least; };
struct Buffer { char* start; size_t bytes; unsigned itemsize; int writable; const char* name; };
struct Launch {
    // runs [first_block, last_block) of the grid
    unsigned blocks, threads_x, threads_y, first_block, last_block;
    size_t shared_bytes;
    unsigned long long seed;  // 0: threads and blocks in their natural order
    const Buffer* buffers;
    int buffer_count;
    unsigned long long steps;  // the kernel is stopped after so many branches; 0: never
    Traffic* traffic;          // one of each buffer, or null: nothing is counted
};
}

namespace {

const size_t STACK = 64 << 10;
const unsigned NOBODY = 0, MANY = ~0u;

struct Fiber {
    ucontext_t context;
    char* stack;
    unsigned thread;
    int line;
    bool waits, for_warp;  // for the other threads of its block, or only of its warp
};
// who was here last, and after which barrier
struct Visit { unsigned thread; unsigned long long epoch; };
struct SharedByte { Visit write, read; };
struct GlobalItem { unsigned writer, reader; };
struct Access {  // accesses that agree in the first four are made by one instruction of a warp
    unsigned warp;
    const void* instruction;
    unsigned turn;  // how often this thread has come to the instruction before
    int buffer;
    size_t offset, size;
    auto key() const { return std::tie(warp, instruction, turn, buffer); }
    bool operator<(const Access& other) const { return key() < other.key(); }
};
const unsigned WARP = 32, SECTOR = 32;

const Launch* launch;
void (*entry)(void**);
void** entry_arguments;
char message[400];
bool failed;

// The pieces of two matrices that a warp multiplies, as its threads hold them. There are two, used
// in turn, so that no thread overwrites what another has still to read.
struct Pieces { float a[WARP][4], b[WARP][2]; };
Pieces pieces[2][1024 / WARP];
double shuffled[2][1024];       // what each thread gives the others of its warp; likewise in turn
bool turn_of_pieces[1024];

// Copies into shared memory that a thread has asked for and not yet waited for. Here they arrive as
// late as they may; until then NaN lies there.
struct LaterCopy { char* to; const char* from; size_t size; };
std::vector<LaterCopy> on_their_way[1024];

ucontext_t scheduler;
std::vector<Fiber*> fibers;     // all that were ever made, for use again
Fiber* running;
std::vector<unsigned> order;    // of the threads of this block
size_t next_thread;
unsigned ended;
unsigned long long epoch, block_epoch;  // barriers so far; its value when this block began
std::mt19937_64 shuffler;

std::vector<char> dynamic_shared;
std::vector<SharedByte> static_bytes, dynamic_bytes;
std::vector<GlobalItem*> items;
unsigned long long steps;
std::vector<Access> accesses;  // of this block
std::map<std::pair<unsigned, const void*>, unsigned> turns;

template <class T> void shuffle(std::vector<T>& list) {
    if (launch->seed) std::shuffle(list.begin(), list.end(), shuffler);
}

// Notes what is wrong, the first time.
void note(const char* format, va_list rest) {
    if (failed) return;
    int length = launch->threads_y == 1
        ? snprintf(message, sizeof message, "block %u, thread %u ", blockIdx.x, threadIdx.x)
        : snprintf(message, sizeof message, "block %u, thread (%u, %u) ", blockIdx.x, threadIdx.x,
            threadIdx.y);
    vsnprintf(message + length, sizeof message - length, format, rest);
    failed = true;
}

void complain(const char* format, ...) {
    va_list rest;
    va_start(rest, format);
    note(format, rest);
    va_end(rest);
}

// Stops the kernel for good, from a fiber: the scheduler does not come back to its fibers.
void fail(const char* format, ...) {
    va_list rest;
    va_start(rest, format);
    note(format, rest);
    va_end(rest);
    swapcontext(&running->context, &scheduler);
}

unsigned thread_in_block() { return threadIdx.y * blockDim.x + threadIdx.x + 1; }

void visit_shared(std::vector<SharedByte>& bytes, size_t offset, size_t size, bool write) {
    unsigned me = thread_in_block();
    for (size_t byte = offset; byte < offset + size; ++byte) {
        Visit &w = bytes[byte].write, &r = bytes[byte].read;
        if (w.epoch == epoch && w.thread != me)
            fail("%s shared memory that another thread wrote, with no barrier between",
                 write ? "writes to" : "reads");
        if (write && r.epoch == epoch && r.thread != me)
            fail("writes to shared memory that another thread read, with no barrier between");
        if (write) w = {me, epoch};
        else if (w.epoch < block_epoch) fail("reads shared memory that nobody wrote to");
        else r = {r.epoch == epoch && r.thread != me ? MANY : me, epoch};
    }
}

void visit_global(int number, size_t offset, size_t size, bool write) {
    const Buffer& buffer = launch->buffers[number];
    if (write && !buffer.writable) fail("writes to %s, which is const", buffer.name);
    if (!buffer.writable) return;
    unsigned me = blockIdx.x * launch->threads_x * launch->threads_y + thread_in_block();
    for (size_t i = offset / buffer.itemsize; i <= (offset + size - 1) / buffer.itemsize; ++i) {
        GlobalItem& item = items[number][i];
        if (item.writer != NOBODY && item.writer != me)
            fail("%s %s[%zu], which another thread wrote", write ? "writes to" : "reads",
                buffer.name, i);
        if (write && item.reader != NOBODY && item.reader != me)
            fail("writes to %s[%zu], which another thread read", buffer.name, i);
        if (write) item.writer = me;
        else item.reader = item.reader == NOBODY || item.reader == me ? me : MANY;
    }
}

// Adds up what the warps of a block did, and forgets it.
void count_traffic() {
    std::sort(accesses.begin(), accesses.end());
    for (size_t first = 0, last; first < accesses.size(); first = last) {
        std::vector<size_t> sectors, places;
        size_t size = accesses[first].size;
        for (last = first; last < accesses.size() && !(accesses[first] < accesses[last]); ++last) {
            sectors.push_back(accesses[last].offset / SECTOR);
            places.push_back(accesses[last].offset);
        }
        auto different = [](std::vector<size_t>& list) {
            std::sort(list.begin(), list.end());
            return static_cast<size_t>(std::unique(list.begin(), list.end()) - list.begin());
        };
        Traffic& traffic = launch->traffic[accesses[first].buffer];
        traffic.accesses += last - first;
        traffic.requests += 1;
        traffic.sectors += different(sectors);
        traffic.least += (different(places) * size + SECTOR - 1) / SECTOR;
    }
    accesses.clear();
    turns.clear();
}

void visit(void* address, size_t size, bool write, const void* instruction) {
    char* at = static_cast<char*>(address);
    if (reinterpret_cast<uintptr_t>(at) % size)
        fail("makes an access of %zu bytes that is not aligned", size);
    for (int i = 0; i < launch->buffer_count; ++i) {
        const Buffer& buffer = launch->buffers[i];
        if (at >= buffer.start && at + size <= buffer.start + buffer.bytes) {
            size_t offset = at - buffer.start;
            unsigned thread = thread_in_block() - 1;
            if (launch->traffic)
                accesses.push_back({thread / WARP, instruction, turns[{thread, instruction}]++, i,
                    offset, size});
            return visit_global(i, offset, size, write);
        }
    }
    if (at >= __start_emulated_shared && at + size <= __stop_emulated_shared)
        return visit_shared(static_bytes, at - __start_emulated_shared, size, write);
    if (at >= dynamic_shared.data() && at + size <= dynamic_shared.data() + dynamic_shared.size())
        return visit_shared(dynamic_bytes, at - dynamic_shared.data(), size, write);
    if (at >= running->stack && at < running->stack + STACK) return;  // a variable of its own
    // The address is in no array: name the array whose start or end is nearest.
    long long from_shared = at - dynamic_shared.data(), nearest = from_shared;
    if (nearest > 0) nearest = std::max(0LL, nearest - (long long)dynamic_shared.size());
    const Buffer* named = nullptr;
    for (int i = 0; i < launch->buffer_count; ++i) {
        const Buffer& buffer = launch->buffers[i];
        long long away = at < buffer.start ? at - buffer.start : at - (buffer.start + buffer.bytes);
        if (std::abs(away) < std::abs(nearest)) nearest = away, named = &buffer;
    }
    if (!named)
        fail("%s outside of all arrays, %lld bytes from the start of shared memory, "
             "which has %zu bytes",
             write ? "writes" : "reads", from_shared, dynamic_shared.size());
    long long offset = at - named->start, item = named->itemsize;
    fail("%s %s[%lld], %s %s, which has %zu elements", write ? "writes to" : "reads", named->name,
         (offset - (offset < 0 ? item - 1 : 0)) / item,
         offset < 0 ? "before the start of" : "past the end of",
         named->name, named->bytes / named->itemsize);
}

void set_thread(unsigned thread) {
    threadIdx = {thread % launch->threads_x, thread / launch->threads_x, 0};
    running->thread = thread;
}

// What a fiber does: one thread after the other, as long as there are any that have not begun. It
// loses its turn only at a barrier, so that a kernel without barriers is a plain loop.
void fiber_main() {
    for (;;) {
        while (next_thread < order.size()) {
            set_thread(order[next_thread++]);
            entry(entry_arguments);
            ++ended;
        }
        swapcontext(&running->context, &scheduler);
    }
}

Fiber* fiber(size_t number) {
    if (number == fibers.size()) {
        Fiber* made = new Fiber();
        made->stack = static_cast<char*>(
            mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        fibers.push_back(made);
    }
    return fibers[number];
}

void begin(Fiber* f) {
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = STACK;
    f->context.uc_link = nullptr;
    makecontext(&f->context, fiber_main, 0);
}

void give_turn(Fiber* f) {
    running = f;
    f->waits = false;
    swapcontext(&scheduler, &f->context);
}

// Lets the threads of every warp go on that have all come to the same instruction. False if some
// wait for threads of their warp that do not come.
bool release_warps(std::vector<Fiber*>& waiting) {
    std::map<unsigned, std::vector<Fiber*>> warps;
    std::vector<Fiber*> again;
    for (Fiber* f : waiting) {
        if (f->for_warp) warps[f->thread / WARP].push_back(f);
        else again.push_back(f);
    }
    for (auto& [warp, members] : warps) {
        for (Fiber* f : members)
            if (f->line != members[0]->line || members.size() < WARP) {
                running = f;
                set_thread(f->thread);
                complain("waits for its warp at line %d, where only %zu threads of it come",
                    f->line, (size_t)std::count_if(members.begin(), members.end(),
                                                   [f](Fiber* o) { return o->line == f->line; }));
                return false;
            }
        shuffle(members);
        for (Fiber* f : members) {
            give_turn(f);
            if (failed) return false;
            if (f->waits) again.push_back(f);
        }
    }
    waiting = again;
    return true;
}

void run_block() {
    block_epoch = ++epoch;
    std::fill(std::begin(turn_of_pieces), std::end(turn_of_pieces), false);
    for (auto& of_thread : on_their_way) of_thread.clear();
    order.resize(launch->threads_x * launch->threads_y);
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    shuffle(order);
    next_thread = ended = 0;
    std::vector<Fiber*> waiting;
    while (next_thread < order.size() && !failed) {
        Fiber* f = fiber(waiting.size());
        begin(f);
        give_turn(f);
        if (f->waits) waiting.push_back(f);
    }
    while (!waiting.empty() && !failed) {
        auto for_warp = [](Fiber* f) { return f->for_warp; };
        if (std::any_of(waiting.begin(), waiting.end(), for_warp)) {
            if (!release_warps(waiting)) return;
            continue;
        }
        running = waiting[0];
        set_thread(running->thread);
        for (Fiber* f : waiting)
            if (f->line != running->line) {
                complain("waits at the barrier of line %d, another thread at that of line %d",
                    running->line, f->line);
                return;
            }
        if (waiting.size() < order.size()) {
            complain("waits at the barrier of line %d, while %zu threads of its block ended",
                running->line,
                 order.size() - waiting.size());
            return;
        }
        ++epoch;
        shuffle(waiting);
        std::vector<Fiber*> again;
        for (Fiber* f : waiting) {
            give_turn(f);
            if (failed) return;
            if (f->waits) again.push_back(f);
        }
        waiting = again;
    }
}

void wait(int line, bool for_warp) {
    Fiber* me = running;
    me->line = line;
    me->waits = true;
    me->for_warp = for_warp;
    swapcontext(&me->context, &scheduler);
    set_thread(me->thread);
}

float tf32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    bits &= ~0x1fffu;
    memcpy(&x, &bits, 4);
    return x;
}

}  // namespace

extern "C" {

void emulator_barrier(int line) { wait(line, false); }

// mma.sync.m16n8k8 of PTX: d (16, 8) += a (16, 8) b (8, 8). Element (row, k) of a is with lane
// 4 * (row % 8) + k % 4, as its number row / 8 + k / 4 * 2; (k, column) of b with lane
// 4 * column + k % 4, as its number k / 4.
void emulator_mma(float* d, const float* a, const float* b, int line) {
    unsigned me = running->thread, lane = me % WARP;
    Pieces& of_warp = pieces[turn_of_pieces[me] = !turn_of_pieces[me]][me / WARP];
    memcpy(of_warp.a[lane], a, sizeof of_warp.a[lane]);
    memcpy(of_warp.b[lane], b, sizeof of_warp.b[lane]);
    wait(line, true);
    for (unsigned e = 0; e < 4; ++e) {
        unsigned row = lane / 4 + e / 2 * 8, column = lane % 4 * 2 + e % 2;
        for (unsigned k = 0; k < 8; ++k)
            d[e] += tf32(of_warp.a[row % 8 * 4 + k % 4][row / 8 + k / 4 * 2]) *
                    tf32(of_warp.b[column * 4 + k % 4][k / 4]);
    }
}

// __shfl_xor_sync: the value of the thread whose number in the warp differs in the bits of `mask`.
double emulator_shuffle(double value, int mask, int line) {
    unsigned me = running->thread;
    double* values = shuffled[turn_of_pieces[me] = !turn_of_pieces[me]];
    values[me] = value;
    wait(line, true);
    return values[me ^ mask];
}

void* emulator_dynamic_shared() { return dynamic_shared.data(); }

void emulator_copy_later(void* to, const void* from, size_t size, bool wanted) {
    if (wanted) visit(const_cast<void*>(from), size, false, __builtin_return_address(0));
    visit(to, size, true, __builtin_return_address(0));
    memset(to, 0xff, size);  // NaN
    on_their_way[running->thread].push_back(
        {static_cast<char*>(to), wanted ? static_cast<const char*>(from) : nullptr, size});
}

void await_copies() {
    for (const LaterCopy& copy : on_their_way[running->thread]) {
        visit(copy.to, copy.size, true, __builtin_return_address(0));
        if (copy.from) memcpy(copy.to, copy.from, copy.size);
        else memset(copy.to, 0, copy.size);
    }
    on_their_way[running->thread].clear();
}

// Runs a kernel. Returns null, or what it did wrong.
const char* emulate(void (*call)(void**), void** arguments, const Launch* what) {
    launch = what;
    entry = call;
    entry_arguments = arguments;
    failed = false;
    steps = 0;
    shuffler.seed(what->seed);
    gridDim = {what->blocks, 1, 1};
    blockDim = {what->threads_x, what->threads_y, 1};
    dynamic_shared.assign(what->shared_bytes, 0);
    dynamic_bytes.assign(what->shared_bytes, SharedByte());
    static_bytes.assign(__stop_emulated_shared - __start_emulated_shared, SharedByte());
    std::vector<size_t> sizes;
    items.clear();
    // zeros, and memory only for the pages that are touched
    for (int i = 0; i < what->buffer_count; ++i) {
        const Buffer& buffer = what->buffers[i];
        size_t bytes = buffer.writable ? (buffer.bytes / buffer.itemsize + 1) * sizeof(GlobalItem)
            : 1;
        sizes.push_back(bytes);
        items.push_back(static_cast<GlobalItem*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                                                          -1, 0)));
    }
    std::vector<unsigned> blocks(what->last_block - what->first_block);
    for (size_t i = 0; i < blocks.size(); ++i) blocks[i] = what->first_block + i;
    shuffle(blocks);
    for (unsigned block : blocks) {
        blockIdx = {block, 0, 0};
        run_block();
        if (launch->traffic) count_traffic();
        if (failed) break;
    }
    for (size_t i = 0; i < items.size(); ++i) munmap(items[i], sizes[i]);
    return failed ? message : nullptr;
}

// ---- what the compiler calls before an access ---------------------------------------------------
void __tsan_init() {}
#define HERE __builtin_return_address(0)
#define WATCH(size)                                                                       \
    void __tsan_read##size(void* at) { visit(at, size, false, HERE); }                    \
    void __tsan_write##size(void* at) { visit(at, size, true, HERE); }                    \
    void __tsan_unaligned_read##size(void* at) { visit(at, size, false, HERE); }          \
    void __tsan_unaligned_write##size(void* at) { visit(at, size, true, HERE); }
WATCH(1) WATCH(2) WATCH(4) WATCH(8) WATCH(16)
void __tsan_read_range(void* at, unsigned long size) {
    for (unsigned long i = 0; i < size; ++i)
        visit(static_cast<char*>(at) + i, 1, false, HERE);
}
void __tsan_write_range(void* at, unsigned long size) {
    for (unsigned long i = 0; i < size; ++i)
        visit(static_cast<char*>(at) + i, 1, true, HERE);
}

// What the compiler calls at every branch, if the kernel was built with a limit.
void __sanitizer_cov_trace_pc() {
    if (launch && launch->steps && ++steps > launch->steps)
        fail("is still running after %llu steps", launch->steps);
}

struct Where { const char* file; unsigned line, column; };
void __ubsan_handle_out_of_bounds(Where* where, unsigned long index) {
    fail("in line %u: index %ld is past the end of the array", where->line, (long)index);
}
void __ubsan_handle_add_overflow(Where* where, unsigned long, unsigned long) {
    fail("in line %u: + overflows", where->line);
}
void __ubsan_handle_sub_overflow(Where* where, unsigned long, unsigned long) {
    fail("in line %u: - overflows", where->line);
}
void __ubsan_handle_mul_overflow(Where* where, unsigned long, unsigned long) {
    fail("in line %u: * overflows", where->line);
}
void __ubsan_handle_negate_overflow(Where* where, unsigned long) {
    fail("in line %u: - overflows", where->line);
}
void __ubsan_handle_divrem_overflow(Where* where, unsigned long, unsigned long) {
    fail("in line %u: division by zero, or one that overflows", where->line);
}
void __ubsan_handle_shift_out_of_bounds(Where* where, unsigned long, unsigned long) {
    fail("in line %u: shift by too many bits", where->line);
}
}
