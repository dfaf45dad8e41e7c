// Convolution as a matrix product whose matrices nobody writes down ("implicit GEMM").
//
//     c(i, j) = sum over r of a(i, r) * b(r, j)        for each group, i < I, j < J, r < R
//
//                  forward                      dx                         dw
//     i  row       kernel                       channel                    kernel
//     r  inner     channel, pixel of kernel     kernel, pixel of kernel    image, pixel of output
//     j  column    image, pixel of output       image, pixel of image      channel, pixel of kernel
//     a  b  c      w  x  y                      w  dy  dx                  dy  x  dw
//
// conv.cu copies the windows of x into columns to have b in memory. But every element of b lies in
// x already, at the sum of two offsets, one for its row and one for its column (x has its padding
// in memory). The same holds for all nine matrices above. So this product reads
//
//     a(i, r) = a[rows[i] + inner[r]]    b(r, j) = b[inner[R + r] + columns[j]]
//     c(i, j) = c[rows[I + i] + columns[J + j]]
//
// and knows nothing of convolution: implicit.py writes the three tables, once for each shape.
//
// Version 1  One result per thread, straight from memory: two loads for one product.
// Version 2  A block computes ROWS x COLUMNS results. In steps of DEPTH it copies a tile of a and a
//            tile of b into shared memory, so that each number is read from memory once for all
//            results of the block that need it.
// Version 3  A thread computes EIGHT results below each other, and reads one number of b for all of
//            them: 9 loads from shared memory for 8 products, instead of 2 for 1.
// Version 4  A thread computes EIGHT x EIGHT results in registers: 16 loads for 64 products.
// Version 5  Four numbers with each load. A thread's eight rows are two times four, half a tile
//            apart, and so are its columns: then neighbouring threads read neighbouring fours.
// Version 6  A warp computes a compact tile, of 32 x 64: in version 5 it is 8 x 128. Its 32 threads
//            read 96 different numbers where they read 136 before.
// Version 7  Two tiles of each in shared memory. While the block multiplies one, the next is on its
//            way from memory into registers; one barrier per step is enough.
// Version 8  Tensor cores: the 32 threads of a warp hold a 16 x 8 piece of a, an 8 x 8 piece of b
//            and 16 x 8 results between them, and one instruction multiplies. a and b are rounded
//            to TF32, which has the range of float32 and 10 bits after the point; sums are float32.
//            For compute capability 8.0 and later.
// Version 9  The memory system copies the next tiles into shared memory (cp.async): no thread holds
//            numbers that are on their way. a and b come here rounded to TF32 already, which
//            `spread` does.
//
// The sum over r can be cut into slices, each with results of its own, which are added afterwards:
// dw has few results, each with a long sum, and one block per tile would leave most of a GPU idle.
//
// real: float or double.  index_t: int, or long long for an array of more than 2^30 elements.
// ROWS COLUMNS DEPTH WARP_ROWS WARP_COLUMNS THREADS and VERSION are given by implicit.py.

#define EIGHT 8
#define A_STEP (ROWS + 4)     // from one r to the next in a tile, with elements that are never used
#define B_STEP (COLUMNS + 8)  // so that threads which work together meet different banks

struct Product {              // what one block has to do
    const real *a, *b, *bias;
    real* c;
    const index_t *rows, *inner, *columns;
    int I, J, R;
    index_t a_group, b_group; // where its group begins in a and b
    int top, left;            // where its tile of c begins
    int first, last;          // its slice of the inner index

    // A row or column past the end is read as the last one. It is not written.
    __device__ index_t a_row(int i) const { return a_group + rows[min(top + i, I - 1)]; }
    __device__ index_t b_column(int j) const { return b_group + columns[min(left + j, J - 1)]; }

    __device__ void write(int i, int j, real sum) const {
        i += top, j += left;
        if (i < I && j < J) c[rows[I + i] + columns[J + j]] = first == 0 ? sum + bias[i] : sum;
    }
};

// ---- version 1 ---------------------------------------------------------------------------------
__device__ void product_1(const Product& p) {
    int i = threadIdx.x / COLUMNS, j = threadIdx.x % COLUMNS;
    index_t row = p.a_row(i), column = p.b_column(j);
    real sum = 0;
    for (int r = p.first; r < p.last; ++r)
        sum += p.a[row + p.inner[r]] * p.b[p.inner[p.R + r] + column];
    p.write(i, j, sum);
}

// ---- version 2 ---------------------------------------------------------------------------------
// What one thread brings of the two tiles of a step: of a, one inner index in A rows; of b, one
// column at B inner indices. Neighbouring threads read neighbouring r of a, which lie side by side
// in w and dy, and neighbouring columns of b.
struct Share {
    static const int A = ROWS * DEPTH / THREADS, B = COLUMNS * DEPTH / THREADS;
    static const int A_APART = THREADS / DEPTH, B_APART = THREADS / COLUMNS;
    int i, r_of_a, j, r_of_b;     // the first of each, in the tile
    index_t rows[A];              // the offsets do not change from step to step
    index_t column;

    __device__ Share(const Product& p)
        : i(threadIdx.x / DEPTH), r_of_a(threadIdx.x % DEPTH),
          j(threadIdx.x % COLUMNS), r_of_b(threadIdx.x / COLUMNS), column(p.b_column(j)) {
        #pragma unroll
        for (int s = 0; s < A; ++s) rows[s] = p.a_row(i + s * A_APART);
    }
};

struct Load : Share {
    real a[A], b[B];

    __device__ Load(const Product& p) : Share(p) {}

    // Reads from memory; zeros past the end of the slice.
    __device__ void read(const Product& p, int start) {
        int r = start + r_of_a;
        index_t inner = r < p.last ? p.inner[r] : 0;
        #pragma unroll
        for (int s = 0; s < A; ++s) a[s] = r < p.last ? p.a[inner + rows[s]] : 0;
        #pragma unroll
        for (int s = 0; s < B; ++s) {
            r = start + r_of_b + s * B_APART;
            b[s] = r < p.last ? p.b[p.inner[p.R + r] + column] : 0;
        }
    }

    // Writes to shared memory. From one r to the next it is a_r elements in the tile of a, from one
    // row to the next a_i.
    __device__ void write(real* a_tile, real* b_tile, int a_r = A_STEP, int a_i = 1) const {
        #pragma unroll
        for (int s = 0; s < A; ++s) a_tile[r_of_a * a_r + (i + s * A_APART) * a_i] = a[s];
        #pragma unroll
        for (int s = 0; s < B; ++s) b_tile[(r_of_b + s * B_APART) * B_STEP + j] = b[s];
    }
};

__device__ void product_2(const Product& p) {
    __shared__ real a_tile[DEPTH * A_STEP], b_tile[DEPTH * B_STEP];
    int i = threadIdx.x / COLUMNS, j = threadIdx.x % COLUMNS;
    Load load(p);
    real sum = 0;
    for (int start = p.first; start < p.last; start += DEPTH) {
        load.read(p, start);
        load.write(a_tile, b_tile);
        __syncthreads();  // both tiles are complete
        for (int r = 0; r < DEPTH; ++r) sum += a_tile[r * A_STEP + i] * b_tile[r * B_STEP + j];
        __syncthreads();  // no thread reads them any more
    }
    p.write(i, j, sum);
}

// ---- version 3 ---------------------------------------------------------------------------------
__device__ void product_3(const Product& p) {
    __shared__ real a_tile[DEPTH * A_STEP], b_tile[DEPTH * B_STEP];
    int i = threadIdx.x / COLUMNS * EIGHT, j = threadIdx.x % COLUMNS;
    Load load(p);
    real sums[EIGHT] = {};
    for (int start = p.first; start < p.last; start += DEPTH) {
        load.read(p, start);
        load.write(a_tile, b_tile);
        __syncthreads();
        for (int r = 0; r < DEPTH; ++r) {
            real b = b_tile[r * B_STEP + j];
            #pragma unroll
            for (int m = 0; m < EIGHT; ++m) sums[m] += a_tile[r * A_STEP + i + m] * b;
        }
        __syncthreads();
    }
    for (int m = 0; m < EIGHT; ++m) p.write(i + m, j, sums[m]);
}

// ---- version 4 ---------------------------------------------------------------------------------
__device__ void product_4(const Product& p) {
    __shared__ real a_tile[DEPTH * A_STEP], b_tile[DEPTH * B_STEP];
    int i = threadIdx.x / (COLUMNS / EIGHT) * EIGHT, j = threadIdx.x % (COLUMNS / EIGHT) * EIGHT;
    Load load(p);
    real sums[EIGHT][EIGHT] = {};
    for (int start = p.first; start < p.last; start += DEPTH) {
        load.read(p, start);
        load.write(a_tile, b_tile);
        __syncthreads();
        for (int r = 0; r < DEPTH; ++r) {
            real a[EIGHT], b[EIGHT];
            #pragma unroll
            for (int m = 0; m < EIGHT; ++m) a[m] = a_tile[r * A_STEP + i + m];
            #pragma unroll
            for (int n = 0; n < EIGHT; ++n) b[n] = b_tile[r * B_STEP + j + n];
            #pragma unroll
            for (int m = 0; m < EIGHT; ++m)
                #pragma unroll
                for (int n = 0; n < EIGHT; ++n) sums[m][n] += a[m] * b[n];
        }
        __syncthreads();
    }
    #pragma unroll
    for (int m = 0; m < EIGHT; ++m)
        #pragma unroll
        for (int n = 0; n < EIGHT; ++n) p.write(i + m, j + n, sums[m][n]);
}

// ---- version 5 ---------------------------------------------------------------------------------
struct __align__(16) Four { real x, y, z, w; };

__device__ void read_four(real* to, const real* from) {
    Four four = *(const Four*)from;
    to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
}

// EIGHT x EIGHT results of one thread: rows i to i + 3 and i + DOWN to i + DOWN + 3, and columns j
// to j + 3 and j + ACROSS to j + ACROSS + 3 of the tile.
template <int DOWN, int ACROSS>
struct Results {
    int i, j;
    real sums[EIGHT][EIGHT];

    __device__ Results(int i, int j) : i(i), j(j), sums{} {}

    __device__ void add_products(const real* a_tile, const real* b_tile) {
        #pragma unroll 2  // with 8, version 7 runs out of registers
        for (int r = 0; r < DEPTH; ++r) {
            real a[EIGHT], b[EIGHT];
            read_four(a, a_tile + r * A_STEP + i);
            read_four(a + 4, a_tile + r * A_STEP + i + DOWN);
            read_four(b, b_tile + r * B_STEP + j);
            read_four(b + 4, b_tile + r * B_STEP + j + ACROSS);
            #pragma unroll
            for (int m = 0; m < EIGHT; ++m)
                #pragma unroll
                for (int n = 0; n < EIGHT; ++n) sums[m][n] += a[m] * b[n];
        }
    }

    __device__ void write(const Product& p) const {
        #pragma unroll
        for (int m = 0; m < EIGHT; ++m)
            #pragma unroll
            for (int n = 0; n < EIGHT; ++n)
                p.write(i + m % 4 + m / 4 * DOWN, j + n % 4 + n / 4 * ACROSS, sums[m][n]);
    }
};

__device__ void product_5(const Product& p) {
    __shared__ __align__(16) real a_tile[DEPTH * A_STEP], b_tile[DEPTH * B_STEP];
    Results<ROWS / 2, COLUMNS / 2> results(threadIdx.x / (COLUMNS / EIGHT) * 4,
                                           threadIdx.x % (COLUMNS / EIGHT) * 4);
    Load load(p);
    for (int start = p.first; start < p.last; start += DEPTH) {
        load.read(p, start);
        load.write(a_tile, b_tile);
        __syncthreads();
        results.add_products(a_tile, b_tile);
        __syncthreads();
    }
    results.write(p);
}

// ---- version 6 ---------------------------------------------------------------------------------
// Where the tile of this warp begins in the tile of the block.
__device__ int warp_top() { return threadIdx.x / 32 / (COLUMNS / WARP_COLUMNS) * WARP_ROWS; }
__device__ int warp_left() { return threadIdx.x / 32 % (COLUMNS / WARP_COLUMNS) * WARP_COLUMNS; }

__device__ void product_6(const Product& p) {
    __shared__ __align__(16) real a_tile[DEPTH * A_STEP], b_tile[DEPTH * B_STEP];
    int lane = threadIdx.x % 32;  // 4 x 8 threads
    Results<16, 32> results(warp_top() + lane / 8 * 4, warp_left() + lane % 8 * 4);
    Load load(p);
    for (int start = p.first; start < p.last; start += DEPTH) {
        load.read(p, start);
        load.write(a_tile, b_tile);
        __syncthreads();
        results.add_products(a_tile, b_tile);
        __syncthreads();
    }
    results.write(p);
}

// ---- version 7 ---------------------------------------------------------------------------------
__device__ void product_7(const Product& p) {
    __shared__ __align__(16) real a_tiles[2][DEPTH * A_STEP], b_tiles[2][DEPTH * B_STEP];
    int lane = threadIdx.x % 32, now = 0;  // now: which of the two tiles is multiplied
    Results<16, 32> results(warp_top() + lane / 8 * 4, warp_left() + lane % 8 * 4);
    Load load(p);
    load.read(p, p.first);
    load.write(a_tiles[now], b_tiles[now]);
    __syncthreads();
    for (int start = p.first; start < p.last; start += DEPTH) {
        bool more = start + DEPTH < p.last;
        if (more) load.read(p, start + DEPTH);  // nobody waits for these numbers ...
        results.add_products(a_tiles[now], b_tiles[now]);
        now = 1 - now;
        if (more) load.write(a_tiles[now], b_tiles[now]);  // ... until here
        __syncthreads();
    }
    results.write(p);
}

// ---- version 8 ---------------------------------------------------------------------------------
#if VERSION >= 8
#ifdef __CUDACC__
__device__ float to_tf32(float x) {
    unsigned int bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return __uint_as_float(bits);
}

// d += a b for the whole warp. With lane = 4 * g + k, a thread holds
//     a   (g, k)  (g + 8, k)  (g, k + 4)  (g + 8, k + 4)        b   (k, g)  (k + 4, g)
//     d   (g, 2 k)  (g, 2 k + 1)  (g + 8, 2 k)  (g + 8, 2 k + 1)
__device__ void mma(float (&d)[4], const float (&a)[4], const float (&b)[2]) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])),
          "r"(__float_as_uint(a[3])), "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
}

// Asks the memory system for a copy into shared memory; of zeros, unless it is wanted.
__device__ void copy_later(float* to, const float* from, bool wanted) {
    unsigned int address = __cvta_generic_to_shared(to);
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
                 :: "r"(address), "l"(from), "r"(wanted ? 4 : 0));
}
// Waits until all that this thread has asked for has arrived.
__device__ void await_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }
#endif  // the emulator has its own

__device__ void round_to_tf32(Load& load) {
    #pragma unroll
    for (int s = 0; s < Load::A; ++s) load.a[s] = to_tf32(load.a[s]);
    #pragma unroll
    for (int s = 0; s < Load::B; ++s) load.b[s] = to_tf32(load.b[s]);
}

#define A_ROW (DEPTH + 4)  // here the tile of a lies row by row, so that the banks differ again
#define DOWN (WARP_ROWS / 16)
#define ACROSS (WARP_COLUMNS / 8)

// The results that one thread holds of the tile of its warp.
struct Pieces {
    int g, k;
    float sums[DOWN][ACROSS][4];

    __device__ Pieces() : g(threadIdx.x % 32 / 4), k(threadIdx.x % 4), sums{} {}

    __device__ void add_products(const float* a_tile, const float* b_tile) {
        a_tile += (warp_top() + g) * A_ROW + k;
        b_tile += k * B_STEP + warp_left() + g;
        #pragma unroll
        for (int r = 0; r < DEPTH; r += 8) {
            float a[DOWN][4], b[ACROSS][2];
            #pragma unroll
            for (int m = 0; m < DOWN; ++m) {
                const float* from = a_tile + 16 * m * A_ROW + r;
                a[m][0] = from[0], a[m][1] = from[8 * A_ROW];
                a[m][2] = from[4], a[m][3] = from[8 * A_ROW + 4];
            }
            #pragma unroll
            for (int n = 0; n < ACROSS; ++n) {
                const float* from = b_tile + r * B_STEP + 8 * n;
                b[n][0] = from[0], b[n][1] = from[4 * B_STEP];
            }
            #pragma unroll
            for (int m = 0; m < DOWN; ++m)
                #pragma unroll
                for (int n = 0; n < ACROSS; ++n) mma(sums[m][n], a[m], b[n]);
        }
    }

    __device__ void write(const Product& p) const {
        #pragma unroll
        for (int m = 0; m < DOWN; ++m)
            #pragma unroll
            for (int n = 0; n < ACROSS; ++n)
                #pragma unroll
                for (int e = 0; e < 4; ++e)
                    p.write(warp_top() + g + 16 * m + e / 2 * 8,
                            warp_left() + 8 * n + 2 * k + e % 2, sums[m][n][e]);
    }
};

__device__ void product_8(const Product& p) {
    __shared__ float a_tiles[2][ROWS * A_ROW], b_tiles[2][DEPTH * B_STEP];
    int now = 0;
    Pieces pieces;
    Load load(p);
    load.read(p, p.first);
    round_to_tf32(load);
    load.write(a_tiles[now], b_tiles[now], 1, A_ROW);
    __syncthreads();
    for (int start = p.first; start < p.last; start += DEPTH) {
        bool more = start + DEPTH < p.last;
        if (more) load.read(p, start + DEPTH);
        pieces.add_products(a_tiles[now], b_tiles[now]);
        now = 1 - now;
        if (more) {
            round_to_tf32(load);
            load.write(a_tiles[now], b_tiles[now], 1, A_ROW);
        }
        __syncthreads();
    }
    pieces.write(p);
}

// ---- version 9 ---------------------------------------------------------------------------------
struct Copy : Share {
    index_t inner_of_a, inner_of_b[B];  // for the next step: they, too, take their time

    __device__ Copy(const Product& p) : Share(p) { look_up(p, p.first); }

    __device__ void look_up(const Product& p, int start) {
        inner_of_a = p.inner[min(start + r_of_a, p.last - 1)];
        #pragma unroll
        for (int s = 0; s < B; ++s)
            inner_of_b[s] = p.inner[p.R + min(start + r_of_b + s * B_APART, p.last - 1)];
    }

    __device__ void ask_for(const Product& p, int start, float* a_tile, float* b_tile) {
        #pragma unroll
        for (int s = 0; s < A; ++s)
            copy_later(a_tile + (i + s * A_APART) * A_ROW + r_of_a, p.a + (inner_of_a + rows[s]),
                       start + r_of_a < p.last);
        #pragma unroll
        for (int s = 0; s < B; ++s)
            copy_later(b_tile + (r_of_b + s * B_APART) * B_STEP + j, p.b + (inner_of_b[s] + column),
                       start + r_of_b + s * B_APART < p.last);
        look_up(p, start + DEPTH);
    }
};

__device__ void product_9(const Product& p) {
    __shared__ float a_tiles[2][ROWS * A_ROW], b_tiles[2][DEPTH * B_STEP];
    int now = 0;
    Pieces pieces;
    Copy copy(p);
    copy.ask_for(p, p.first, a_tiles[now], b_tiles[now]);
    for (int start = p.first; start < p.last; start += DEPTH) {
        await_copies();   // what this thread asked for has arrived,
        __syncthreads();  // and what all others did; no thread reads the other tile any more
        copy.ask_for(p, start + DEPTH, a_tiles[1 - now], b_tiles[1 - now]);  // zeros past the end
        pieces.add_products(a_tiles[now], b_tiles[now]);
        now = 1 - now;
    }
    pieces.write(p);
}
#endif

// ---- the kernels -------------------------------------------------------------------------------
// x (maps, H, W) -> padded (maps, HP, WP): x begins at (top, left), its pixels are SH and SW apart,
// with zeros around and between. One block per map.
extern "C" __global__ void spread(const real* __restrict__ x, real* __restrict__ padded,
                                  int H, int W, int HP, int WP, int top, int left,
                                  int SH, int SW) {
    const real* from = x + (index_t)blockIdx.x * H * W;
    real* to = padded + (index_t)blockIdx.x * HP * WP;
    for (int p = threadIdx.x; p < HP * WP; p += blockDim.x) {
        int down = p / WP - top, across = p % WP - left, i = down / SH, j = across / SW;
        bool is_pixel = down >= 0 && across >= 0 && down % SH == 0 && across % SW == 0 && i < H
                        && j < W;
        real pixel = is_pixel ? from[i * W + j] : 0;
#if VERSION >= 9
        pixel = to_tf32(pixel);
#endif
        to[p] = pixel;
    }
}

// Two blocks of 256 threads are to fit into a multiprocessor at a time, so that one computes while
// the other waits: this leaves 128 registers to a thread. Wider numbers need more.
#define RESIDENT (sizeof(real) + sizeof(index_t) == 8 && THREADS == 256 ? 2 : 1)
#define PASTE(name, version) name##version
#define PRODUCT(version) PASTE(product_, version)

// Blocks go down the rows first, so that those which read the same columns run at the same time;
// then across the columns, the G groups and the slices, of `length` inner indices each.
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) multiply(
        const real* __restrict__ a, const real* __restrict__ b, const real* __restrict__ bias,
        real* __restrict__ c, const index_t* __restrict__ rows, const index_t* __restrict__ inner,
        const index_t* __restrict__ columns, int I, int J, int R, int G,
        int a_group, int b_group, int c_group, int length, int c_slice) {
    int down = (I + ROWS - 1) / ROWS, across = (J + COLUMNS - 1) / COLUMNS;
    int top = blockIdx.x % down * ROWS, left = blockIdx.x / down % across * COLUMNS;
    int q = blockIdx.x / down / across % G, slice = blockIdx.x / down / across / G;
    c += (index_t)q * c_group + (index_t)slice * c_slice;
    PRODUCT(VERSION)({a, b, bias + q * I, c, rows, inner, columns, I, J, R,
                      (index_t)q * a_group, (index_t)q * b_group, top, left,
                      slice * length, min(R, (slice + 1) * length)});
}
