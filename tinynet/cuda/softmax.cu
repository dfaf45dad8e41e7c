// Softmax and cross-entropy in one.   N images  C classes
//
// Version 1  One thread per image, the loop of reference/softmax.py: three walks along its row. Neighbouring threads
//            walk along neighbouring rows, C elements apart: no two of them ever read from one stretch. And a batch of
//            128 keeps 128 threads busy, on a machine that holds a hundred thousand.
// Version 2  One block per image. Its threads share the row among them, side by side; what each has found, the largest
//            or a sum, is brought together in shared memory, half as many threads with every step: a tree. It adds up
//            in the same order every time, so that a run can be repeated bit by bit.
//
// A label that is no class makes the loss NaN, where the training loop notices: the host has checked all labels before.
//
// real: float or double.  index_t: int, or long long for an array of more than 2^30 elements.

#define THREADS 256  // of a block of version 2; a power of 2

// ---- version 1 -----------------------------------------------------------------------------------------------------
extern "C" __global__ void softmax_forward_1(index_t total, const real* logits, const long long* labels,
                                             real* losses, real* probs, int C) {
    index_t image = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (image >= total) return;
    const real* row = logits + image * C;
    real largest = row[0];
    for (int c = 1; c < C; ++c) largest = row[c] > largest ? row[c] : largest;
    real sum = 0;
    for (int c = 0; c < C; ++c) sum += exp(row[c] - largest);  // less the largest: no exp overflows
    for (int c = 0; c < C; ++c) probs[image * C + c] = exp(row[c] - largest) / sum;
    long long label = labels[image];
    bool known = 0 <= label && label < C;
    losses[image] = known ? log(sum) - (row[label] - largest) : (real)nan("");
}

extern "C" __global__ void softmax_backward_1(index_t total, const real* probs, const long long* labels, real* dlogits,
                                              int N, int C) {
    index_t i = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= total) return;
    dlogits[i] = (probs[i] - (labels[i / C] == i % C ? 1 : 0)) / N;
}

// ---- version 2 -----------------------------------------------------------------------------------------------------
// What `value` of all threads adds up to (or the largest of them), handed to every thread.
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

extern "C" __global__ void softmax_forward_2(const real* logits, const long long* labels, real* losses, real* probs,
                                             int C) {
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

// ---- both versions -------------------------------------------------------------------------------------------------
// One block: the mean of the N losses.
extern "C" __global__ void mean_2(const real* losses, real* loss, int N) {
    __shared__ real scratch[THREADS];
    real sum = 0;
    for (int image = threadIdx.x; image < N; image += THREADS) sum += losses[image];
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) loss[0] = sum / N;
}
