// What a .cu file needs to be C++: CUDA's words, in terms of runtime.cpp.
#pragma once
#define __global__
#define __device__
// Shared memory is what all threads of a block see: a static variable, since blocks run one after
// the other. They lie in a section of their own, by which the runtime knows them. The driver
// rewrites `extern __shared__ T name[]`.
#define __shared__ static __attribute__((section("emulated_shared")))
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)
#define __syncthreads() emulator_barrier(__LINE__)

struct emulated_uint3 { unsigned int x, y, z; };
extern "C" {
// const: no kernel may write to them
extern const emulated_uint3 threadIdx, blockIdx, blockDim, gridDim;
void emulator_barrier(int line);
void* emulator_dynamic_shared();
void emulator_mma(float* d, const float* a, const float* b, int line);
double emulator_shuffle(double value, int mask, int line);
void emulator_copy_later(void* to, const void* from, unsigned long size, bool wanted);
void await_copies();
}

// No headers: they would take longer to read than the kernels. CUDA's functions are for float and
// double alike.
#define FOR_BOTH(name)            \
    extern "C" double name(double); \
    inline float name(float x) { return __builtin_##name##f(x); }
FOR_BOTH(exp) FOR_BOTH(log) FOR_BOTH(sqrt) FOR_BOTH(tanh)
extern "C" double pow(double, double);
extern "C" double nan(const char*);
inline float pow(float x, float y) { return __builtin_powf(x, y); }
inline float rsqrt(float x) { return 1 / sqrt(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline int min(int a, int b) { return b < a ? b : a; }
inline int max(int a, int b) { return a < b ? b : a; }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned __int128)a * b >> 64;
}
#define __shfl_xor_sync(threads, value, mask) \
    (__typeof__(value))emulator_shuffle(value, mask, __LINE__)

// Tensor cores. TF32 has 13 bits fewer than float: mma ignores them, to_tf32 rounds to the nearest
// number without them, a tie away from zero.
inline float to_tf32(float x) {
    unsigned int bits;
    __builtin_memcpy(&bits, &x, 4);
    bits = (bits & 0x7f800000) == 0x7f800000 ? bits : (bits + 0x1000) & ~0x1fffu;
    __builtin_memcpy(&x, &bits, 4);
    return x;
}
#define mma(d, a, b) emulator_mma(d, a, b, __LINE__)
#define copy_later(to, from, wanted) emulator_copy_later(to, from, sizeof *(to), wanted)

// for the calls that the driver writes
#define UNWATCHED __attribute__((no_sanitize("thread", "undefined")))
