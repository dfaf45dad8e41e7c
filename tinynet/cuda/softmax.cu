// Softmax and cross-entropy in one.   N images  C classes
//
// Version 1  One thread per image, the loop of reference/softmax.py: it walks three times along its
//            row. Neighbouring threads walk along neighbouring rows, C elements apart, so that
//            their reads are never coalesced. And a batch of 128 keeps 128 threads busy, on a
//            machine that can run a hundred thousand.
// Version 2  One block per image. Neighbouring threads read neighbouring elements of the row. What
//            each thread has found, the largest element or a sum, is combined in shared memory by
//            a tree: in every step half as many threads add. The order of the additions is fixed,
//            so that every run gives the same bits.
// Version 3  The threads of a warp give each other numbers from register to register: a shuffle.
//            Five of them add up 32 numbers, with no shared memory and no barrier: the threads
//            of a warp are in step there. Shared memory is needed once, to bring the eight warps of
//            the block together: two barriers for a sum instead of ten.
//
// A label that is no class makes the loss NaN, which stops the training loop. The host has checked
// all labels before.
//
// real: float or double.  index_t: int, or long long for an array of more than 2^30 elements.

#define THREADS 256  // of a block of versions 2 and 3; a power of 2
#define WARP 32

// ---- version 1 ---------------------------------------------------------------------------------
extern "C" __global__ void softmax_forward_1(index_t total, const real* logits,
                                             const long long* labels, real* losses, real* probs,
                                             int C) {
    index_t image = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (image >= total) return;
    const real* row = logits + image * C;
    real largest = row[0];
    for (int c = 1; c < C; ++c) largest = row[c] > largest ? row[c] : largest;
    real sum = 0;
    for (int c = 0; c < C; ++c) sum += exp(row[c] - largest);  // at most 1: no exp overflows
    for (int c = 0; c < C; ++c) probs[image * C + c] = exp(row[c] - largest) / sum;
    long long label = labels[image];
    bool known = 0 <= label && label < C;
    losses[image] = known ? log(sum) - (row[label] - largest) : (real)nan("");
}

extern "C" __global__ void softmax_backward_1(index_t total, const real* probs,
                                              const long long* labels, real* dlogits,
                                              int N, int C) {
    index_t i = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= total) return;
    dlogits[i] = (probs[i] - (labels[i / C] == i % C ? 1 : 0)) / N;
}

// ---- version 2 ---------------------------------------------------------------------------------
// Add up `value` over all threads of the block (block_max: find the largest), for every thread.
__device__ real block_sum(real value, real* scratch) {
    scratch[threadIdx.x] = value;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) scratch[threadIdx.x] += scratch[threadIdx.x + half];
        __syncthreads();
    }
    real sum = scratch[0];
    __syncthreads();  // all have read it; scratch may be used again
    return sum;
}

__device__ real block_max(real value, real* scratch) {
    scratch[threadIdx.x] = value;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half && scratch[threadIdx.x + half] > scratch[threadIdx.x])
            scratch[threadIdx.x] = scratch[threadIdx.x + half];
        __syncthreads();
    }
    real largest = scratch[0];
    __syncthreads();
    return largest;
}

extern "C" __global__ void softmax_forward_2(const real* logits, const long long* labels,
                                             real* losses, real* probs, int C) {
    __shared__ real scratch[THREADS];
    const real* row = logits + (index_t)blockIdx.x * C;
    real* prob = probs + (index_t)blockIdx.x * C;
    real largest = row[0];
    for (int c = threadIdx.x; c < C; c += THREADS) largest = row[c] > largest ? row[c] : largest;
    largest = block_max(largest, scratch);
    real sum = 0;
    for (int c = threadIdx.x; c < C; c += THREADS) {
        prob[c] = exp(row[c] - largest);
        sum += prob[c];
    }
    sum = block_sum(sum, scratch);
    for (int c = threadIdx.x; c < C; c += THREADS) prob[c] /= sum;
    if (threadIdx.x == 0) {
        long long label = labels[blockIdx.x];
        bool known = 0 <= label && label < C;
        losses[blockIdx.x] = known ? log(sum) - (row[label] - largest) : (real)nan("");
    }
}

// The mean of the N losses, in one block.
extern "C" __global__ void mean_2(const real* losses, real* loss, int N) {
    __shared__ real scratch[THREADS];
    real sum = 0;
    for (int image = threadIdx.x; image < N; image += THREADS) sum += losses[image];
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) loss[0] = sum / N;
}

// ---- version 3 ---------------------------------------------------------------------------------
// In every step each thread adds the number of its partner, 16, 8, 4, 2 and 1 threads away. So all
// threads get the sum, and the same bits: a + b is b + a.
__device__ real warp_sum(real value) {
    for (int half = WARP / 2; half > 0; half /= 2) value += __shfl_xor_sync(~0u, value, half);
    return value;
}

__device__ real warp_max(real value) {
    for (int half = WARP / 2; half > 0; half /= 2) {
        real other = __shfl_xor_sync(~0u, value, half);
        value = other > value ? other : value;
    }
    return value;
}

__device__ real sum_of_warps(real value, real* of_warps) {
    int lane = threadIdx.x % WARP;
    value = warp_sum(value);
    if (lane == 0) of_warps[threadIdx.x / WARP] = value;
    __syncthreads();
    value = warp_sum(lane < THREADS / WARP ? of_warps[lane] : 0);
    __syncthreads();  // all have read; of_warps may be used again
    return value;
}

__device__ real max_of_warps(real value, real* of_warps) {
    int lane = threadIdx.x % WARP;
    value = warp_max(value);
    if (lane == 0) of_warps[threadIdx.x / WARP] = value;
    __syncthreads();
    value = warp_max(of_warps[lane % (THREADS / WARP)]);
    __syncthreads();
    return value;
}

extern "C" __global__ void softmax_forward_3(const real* __restrict__ logits,
                                             const long long* __restrict__ labels,
                                             real* __restrict__ losses, real* __restrict__ probs,
                                             int C) {
    __shared__ real of_warps[THREADS / WARP];
    const real* row = logits + (index_t)blockIdx.x * C;
    real* prob = probs + (index_t)blockIdx.x * C;
    real largest = row[0];
    for (int c = threadIdx.x; c < C; c += THREADS) largest = row[c] > largest ? row[c] : largest;
    largest = max_of_warps(largest, of_warps);
    real sum = 0;
    for (int c = threadIdx.x; c < C; c += THREADS) {
        real part = exp(row[c] - largest);
        prob[c] = part;
        sum += part;
    }
    sum = sum_of_warps(sum, of_warps);
    for (int c = threadIdx.x; c < C; c += THREADS) prob[c] /= sum;
    if (threadIdx.x == 0) {
        long long label = labels[blockIdx.x];
        bool known = 0 <= label && label < C;
        losses[blockIdx.x] = known ? log(sum) - (row[label] - largest) : (real)nan("");
    }
}

extern "C" __global__ void mean_3(const real* __restrict__ losses, real* __restrict__ loss,
                                  int N) {
    __shared__ real of_warps[THREADS / WARP];
    real sum = 0;
    for (int image = threadIdx.x; image < N; image += THREADS) sum += losses[image];
    sum = sum_of_warps(sum, of_warps);
    if (threadIdx.x == 0) loss[0] = sum / N;
}
