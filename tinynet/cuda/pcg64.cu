// NumPy's random numbers, drawn by many threads: the generator PCG64 that default_rng() returns.
//
// The generator has a state of 128 bits. A step is
//
//     state <- multiplier * state + increment        modulo 2^128
//
// and each new state gives 64 random bits, which serve as two numbers of 32 bits, the lower half
// first. On the host the steps are made one after another. A GPU cannot wait for that, and need
// not: two steps in a row are one step with another multiplier and another increment,
//
//     m2 * (m1 * state + i1) + i2  =  (m2 m1) * state + (m2 i1 + i2)
//
// so are four, eight, sixteen. A thread that wants the state n steps ahead makes one such leap for
// each binary digit of n that is 1: at most 64 leaps, whatever n is. All is arithmetic of integers,
// so the bits are the same as on the host.
//
// Version 1  One thread for each 64 bits, which leaps to its own step.
// Version 2  A grid-stride loop: the first leap costs a thread some forty products, so it makes one
//            and then goes on in leaps of the whole grid, of one product each.
//
// M. E. O'Neill, PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms for
// Random Number Generation, 2014; F. Brown, Random Number Generation with Arbitrary Stride, 1994.
//
// real: float or double.  index_t: int, or long long for an array of more than 2^30 elements.

typedef unsigned long long word;

struct Wide { word high, low; };                    // a number of 128 bits
struct Leap { Wide multiplier, increment; };        // one step, or many

__device__ Wide sum(Wide a, Wide b) {
    word low = a.low + b.low;
    return {a.high + b.high + (low < a.low), low};  // low < a.low: there is a carry
}

__device__ Wide product(Wide a, Wide b) {           // __umul64hi: the upper 64 bits of a product
    return {__umul64hi(a.low, b.low) + a.high * b.low + a.low * b.high, a.low * b.low};
}

__device__ Wide after(Leap leap, Wide state) {
    return sum(product(leap.multiplier, state), leap.increment);
}

__device__ Leap both(Leap first, Leap second) {
    return {product(second.multiplier, first.multiplier), after(second, first.increment)};
}

__device__ Leap leap_of(word steps, Leap step) {
    Leap leap = {{0, 1}, {0, 0}};                   // no step: 1 * state + 0
    for (; steps > 0; steps /= 2) {
        if (steps % 2) leap = both(leap, step);
        step = both(step, step);                    // twice as many steps as before
    }
    return leap;
}

__device__ word bits_of(Wide state) {               // the two halves, mixed and turned round
    word mixed = state.high ^ state.low;
    int turn = state.high >> 58;
    return mixed >> turn | mixed << (-turn & 63);
}

__device__ Leap step_of(Wide increment) {
    return {{2549297995355413924ull, 4865540595714422341ull}, increment};
}

// Element i of the mask and its neighbour: `value` with a probability of limit / 2^24, else 0. A
// number in [0, 1) of float32 has the upper 24 of 32 bits.
__device__ void write_two(real* mask, index_t i, index_t total, word bits, int limit, real value) {
    if (i < total) mask[i] = (unsigned int)bits >> 8 < limit ? value : 0;
    if (i + 1 < total) mask[i + 1] = bits >> 40 < limit ? value : 0;
}

// waiting: 1 where the host has used only the lower half of its last 64 bits; the upper half,
// `half`, is then the first number, and all others move up by one.

// ---- version 1 ---------------------------------------------------------------------------------
extern "C" __global__ void bernoulli_1(index_t total, real* mask, unsigned long long state_high,
                                       unsigned long long state_low,
                                       unsigned long long increment_high,
                                       unsigned long long increment_low, int waiting,
                                       unsigned int half, int limit, real value) {
    index_t thread = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (waiting && thread == 0) mask[0] = half >> 8 < limit ? value : 0;
    Leap step = step_of({increment_high, increment_low});
    Wide state = after(leap_of(thread + 1, step), {state_high, state_low});
    write_two(mask, 2 * thread + waiting, total, bits_of(state), limit, value);
}

// ---- version 2 ---------------------------------------------------------------------------------
extern "C" __global__ void bernoulli_2(index_t total, real* mask, unsigned long long state_high,
                                       unsigned long long state_low,
                                       unsigned long long increment_high,
                                       unsigned long long increment_low, int waiting,
                                       unsigned int half, int limit, real value) {
    index_t thread = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    index_t threads = (index_t)gridDim.x * blockDim.x;
    if (waiting && thread == 0) mask[0] = half >> 8 < limit ? value : 0;
    Leap step = step_of({increment_high, increment_low}), grid = leap_of(threads, step);
    Wide state = after(leap_of(thread + 1, step), {state_high, state_low});
    for (index_t i = 2 * thread + waiting; i < total; i += 2 * threads) {
        write_two(mask, i, total, bits_of(state), limit, value);
        state = after(grid, state);
    }
}
