// Augmentation on the GPU, from stored bytes to the input of the network: crop, mirror, subtract
// the mean, shift the colours, divide. Pictures travel to the GPU as bytes, a quarter of the size
// of float32 crops.
//
//     pictures (N, 3, S, S) bytes  |  size of the square crop, in pixels
//     total = N * 3 * size * size
//     tops, lefts (N,) where each crop begins; flips (N,) 1 where it is mirrored; drawn on the host
//     mean (3, S, S); under_crop 1: subtract the part of it that lies under each crop, mirrored
//     with the crop; 0: subtract its middle
//     shifts (N, 3), added to each channel of an image (paper, 4.1)
//
// Version 1  One thread per pixel of the result: the loops of tinynet/data/augment.py, as a gather.
// Version 2  A grid-stride loop, as in activation.cu. A mirrored row is read backwards, which is
//            coalesced too.
//
// real: float or double.  index_t: int, or long long for an array of more than 2^30 elements.

__device__ real pixel_of_crop(index_t n, const unsigned char* pictures, const int* tops,
                              const int* lefts, const unsigned char* flips, const real* mean,
                              const real* shifts, int S, int size, int under_crop, real divisor) {
    int column = n % size, row = n / size % size, c = n / size / size % 3;
    index_t image = n / size / size / 3;
    int from_row = tops[image] + row;
    int from_column = lefts[image] + (flips[image] ? size - 1 - column : column);
    int mean_row = under_crop ? from_row : (S - size) / 2 + row;
    int mean_column = under_crop ? from_column : (S - size) / 2 + column;
    real value = pictures[((image * 3 + c) * S + from_row) * S + from_column];
    return (value - mean[(c * S + mean_row) * S + mean_column] + shifts[image * 3 + c]) / divisor;
}

// ---- version 1 ---------------------------------------------------------------------------------
extern "C" __global__ void augment_1(index_t total, const unsigned char* pictures, const int* tops,
                                     const int* lefts, const unsigned char* flips,
                                     const real* mean, const real* shifts, real* x,
                                     int S, int size, int under_crop, real divisor) {
    index_t n = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= total) return;
    x[n] = pixel_of_crop(n, pictures, tops, lefts, flips, mean, shifts,
                         S, size, under_crop, divisor);
}

// ---- version 2 ---------------------------------------------------------------------------------
extern "C" __global__ void augment_2(index_t total, const unsigned char* pictures, const int* tops,
                                     const int* lefts, const unsigned char* flips,
                                     const real* mean, const real* shifts, real* x,
                                     int S, int size, int under_crop, real divisor) {
    index_t first = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    index_t stride = (index_t)gridDim.x * blockDim.x;
    for (index_t n = first; n < total; n += stride)
        x[n] = pixel_of_crop(n, pictures, tops, lefts, flips, mean, shifts,
                             S, size, under_crop, divisor);
}
