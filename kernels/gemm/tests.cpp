// Tests of the matmul family in the simulator: against f64 at odd sizes, tile against tile and row against row bit by
// bit.
#include "gemm/gemm.h"

#include "sim/testing.h"

namespace testing {

namespace {

uint32_t tiles(uint32_t length, uint32_t tile) { return (length + tile - 1) / tile; }

struct ForwardTile {
  const char* name;  // without the type of the output
  uint32_t rows, cols;
  bool is_decode;
};
constexpr ForwardTile kForwardTiles[] = {
    {"gemm_forward_128x256", 128, 256, false}, {"gemm_forward_128x128", 128, 128, false},
    {"gemm_decode_16x8", 16, 8, true},         {"gemm_decode_16x32", 16, 32, true},
    {"gemm_decode_64x32", 64, 32, true},
};

const bf16* as_bf16(const Array<uint16_t>& memory, uint64_t offset = 0) {
  return reinterpret_cast<const bf16*>(memory.device() + offset);
}

/// y of the rows from `first` on, [m, n] without padding.
template <class Out>
std::vector<Out> forward(const ForwardTile& tile, const Matrix& x, const Matrix& weight, const Array<uint16_t>* bias,
                         uint32_t first, uint32_t m, uint64_t seed) {
  const Array<Out> y(uint64_t{m} * weight.rows);
  const GemmForwardParams params{as_bf16(x.memory, uint64_t{first} * x.ld),
                                 as_bf16(weight.memory),
                                 bias == nullptr ? nullptr : as_bf16(*bias),
                                 y.device(),
                                 m,
                                 weight.rows,
                                 x.cols,
                                 x.ld,
                                 weight.ld,
                                 weight.rows};
  const std::string name = std::string(tile.name) + (sizeof(Out) == 2 ? "_bf16" : "_f32");
  if (tile.is_decode) {
    launch(name.c_str(), tiles(params.n, tile.rows), tiles(m, tile.cols), params, seed);
  } else {
    launch(name.c_str(), tiles(m, tile.rows) * tiles(params.n, tile.cols), 1, params, seed);
  }
  return y.read();
}

struct Shape {
  uint32_t m, n, k;
  std::string name() const { return std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k); }
};

void test_forward(Shape shape, uint64_t seed) {
  Random random(seed * 31 + shape.m * 7 + shape.n * 5 + shape.k);
  const Matrix x(shape.m, shape.k, random), weight(shape.n, shape.k, random), bias(1, shape.n, random);
  std::vector<double> expected(uint64_t{shape.m} * shape.n);
  for (uint32_t r = 0; r < shape.m; ++r) {
    for (uint32_t c = 0; c < shape.n; ++c) {
      double sum = bias.at(0, c);
      for (uint32_t i = 0; i < shape.k; ++i) sum += double{x.at(r, i)} * weight.at(c, i);
      expected[uint64_t{r} * shape.n + c] = sum;
    }
  }
  const std::string name = shape.name() + ", seed " + std::to_string(seed);
  const std::vector<float> first = forward<float>(kForwardTiles[0], x, weight, &bias.memory, 0, shape.m, seed);
  const double error = relative_l2(first, expected);
  report("matmul equals f64 at " + name, error < 1e-5, std::to_string(error));
  for (const ForwardTile& tile : kForwardTiles) {
    report(std::string(tile.name) + " has the bits of the first tile at " + name,
           same_bits(forward<float>(tile, x, weight, &bias.memory, 0, shape.m, seed + 1), first), "bits differ");
    std::vector<float> rounded;
    for (const uint16_t bits : forward<uint16_t>(tile, x, weight, &bias.memory, 0, shape.m, seed))
      rounded.push_back(bf16_to_float(bits));
    bool is_rounding = true;
    for (size_t i = 0; i < rounded.size(); ++i) is_rounding &= rounded[i] == bf16_to_float(float_to_bf16(first[i]));
    report(std::string(tile.name) + " rounds once to bf16 at " + name, is_rounding, "not the rounded f32");
    // Any rows alone have the bits that they have among others.
    const uint32_t begin = shape.m / 3, rows = (shape.m + 1) / 2;
    const std::vector<float> some = forward<float>(tile, x, weight, &bias.memory, begin, rows, seed);
    report(std::string(tile.name) + " has rows that depend on no others at " + name,
           std::memcmp(some.data(), first.data() + uint64_t{begin} * shape.n, some.size() * 4) == 0, "bits differ");
  }
}

std::vector<float> backward_input(const char* kernel, uint32_t tile_cols, const Matrix& d_y, const Matrix& weight,
                                  uint64_t seed) {
  const Array<float> d_x(uint64_t{d_y.rows} * weight.cols);
  const GemmBackwardInputParams params{
      as_bf16(d_y.memory), as_bf16(weight.memory), d_x.device(), d_y.rows, weight.rows, weight.cols, d_y.ld, weight.ld,
      weight.cols};
  launch(kernel, tiles(params.m, 128) * tiles(params.k, tile_cols), 1, params, seed);
  return d_x.read();
}

void test_backward_input(Shape shape, uint64_t seed) {
  Random random(seed * 37 + shape.m + shape.n * 3 + shape.k);
  const Matrix d_y(shape.m, shape.n, random), weight(shape.n, shape.k, random);
  std::vector<double> expected(uint64_t{shape.m} * shape.k);
  for (uint32_t r = 0; r < shape.m; ++r) {
    for (uint32_t i = 0; i < shape.n; ++i) {
      for (uint32_t c = 0; c < shape.k; ++c)
        expected[uint64_t{r} * shape.k + c] += double{d_y.at(r, i)} * weight.at(i, c);
    }
  }
  const std::string name = shape.name() + ", seed " + std::to_string(seed);
  const std::vector<float> wide = backward_input("gemm_backward_input_128x256", 256, d_y, weight, seed);
  const double error = relative_l2(wide, expected);
  report("the input's gradient equals f64 at " + name, error < 1e-5, std::to_string(error));
  report("the input's gradient has equal bits in both tiles at " + name,
         same_bits(wide, backward_input("gemm_backward_input_128x128", 128, d_y, weight, seed + 1)), "bits differ");
}

/// Adds the gradient of rows [begin, end) to `gradient`.
void add_weight_gradient(const Matrix& d_y, const Matrix& x, uint32_t begin, uint32_t end, const Array<float>& gradient,
                         uint64_t seed) {
  const GemmBackwardWeightParams params{as_bf16(d_y.memory, uint64_t{begin} * d_y.ld),
                                        as_bf16(x.memory, uint64_t{begin} * x.ld),
                                        gradient.device(),
                                        end - begin,
                                        d_y.cols,
                                        x.cols,
                                        d_y.ld,
                                        x.ld,
                                        x.cols};
  launch("gemm_backward_weight_128x128", tiles(params.n, 128) * tiles(params.k, 128), 1, params, seed);
}

void test_backward_weight(Shape shape, uint64_t seed) {
  Random random(seed * 41 + shape.m + shape.n + shape.k * 3);
  const Matrix d_y(shape.m, shape.n, random), x(shape.m, shape.k, random);
  std::vector<float> before(uint64_t{shape.n} * shape.k);
  for (float& value : before) value = random.next();
  std::vector<double> expected(before.begin(), before.end());
  for (uint32_t i = 0; i < shape.m; ++i) {
    for (uint32_t r = 0; r < shape.n; ++r) {
      for (uint32_t c = 0; c < shape.k; ++c) expected[uint64_t{r} * shape.k + c] += double{d_y.at(i, r)} * x.at(i, c);
    }
  }
  const Array<float> whole(before), parts(before);
  add_weight_gradient(d_y, x, 0, shape.m, whole, seed);
  const uint32_t half = shape.m / 2 / 64 * 64;
  if (half > 0) add_weight_gradient(d_y, x, 0, half, parts, seed + 1);
  add_weight_gradient(d_y, x, half, shape.m, parts, seed + 2);
  const std::string name = shape.name() + ", seed " + std::to_string(seed);
  const double error = relative_l2(whole.read(), expected);
  report("the weight's gradient equals f64 at " + name, error < 1e-5, std::to_string(error));
  report("the weight's gradient of parts has the bits of the whole at " + name, same_bits(whole.read(), parts.read()),
         "bits differ");
}

void test_rows(uint32_t m, uint32_t n, uint64_t seed) {
  Random random(seed + m + n);
  std::vector<float> x(uint64_t{m} * n), sums(n);
  for (float& value : x) value = random.next();
  for (float& value : sums) value = random.next();
  std::vector<float> expected = sums;
  for (uint32_t first = 0; first < m; first += 64) {
    for (uint32_t c = 0; c < n; ++c) {
      float sum = 0;
      for (uint32_t r = first; r < std::min(first + 64, m); ++r) sum += x[uint64_t{r} * n + c];
      expected[c] += sum;
    }
  }
  const Array<float> from(x), total(sums);
  launch("column_sum", tiles(n, 32), 1, ColumnSumParams{from.device(), total.device(), m, n, n, 0}, seed);
  const std::string name = std::to_string(m) + "x" + std::to_string(n) + ", seed " + std::to_string(seed);
  report("column sums have the bits of their definition at " + name, same_bits(total.read(), expected), "bits differ");

  const uint32_t ld = (n + 7) / 8 * 8;
  std::vector<uint16_t> rounded(uint64_t{m} * ld, 0);
  for (uint32_t r = 0; r < m; ++r) {
    for (uint32_t c = 0; c < n; ++c) rounded[uint64_t{r} * ld + c] = float_to_bf16(x[uint64_t{r} * n + c]);
  }
  const Array<uint16_t> cast(uint64_t{m} * ld);
  const CastRowsParams params{from.device(), reinterpret_cast<bf16*>(cast.device()), m, n, n, ld};
  launch("cast_rows", m, tiles(ld, 1024), params, seed);
  report("cast_rows rounds and pads at " + name, same_bits(cast.read(), rounded), "bits differ");
}

}  // namespace

void test_gemm(uint64_t seed) {
  constexpr Shape kShapes[] = {{1, 99, 40}, {99, 1, 99}, {9, 72, 989}, {130, 260, 99}, {33, 16, 7}, {1, 1, 1}};
  for (const Shape shape : kShapes) {
    test_forward(shape, seed);
    test_backward_input(shape, seed);
  }
  // More than eight tile rows: blocks take their places in two groups.
  if (seed == 0) {
    test_forward({1200, 300, 24}, seed);
    test_backward_input({1200, 24, 300}, seed);
    test_backward_weight({24, 1200, 300}, seed);
  }
  // The sum runs over m here.
  constexpr Shape kWeightShapes[] = {{989, 99, 40}, {1, 7, 3}, {64, 130, 99}, {200, 1, 129}};
  for (const Shape shape : kWeightShapes) test_backward_weight(shape, seed);
  test_rows(99, 33, seed);
  test_rows(989, 1, seed);
  test_rows(2100, 5, seed);
}

std::string probe_gemm() {
  Random random(3);
  const Matrix x(130, 203, random), weight(131, 203, random);
  const Array<float> y(130 * 131);
  const GemmForwardParams params{
      as_bf16(x.memory), as_bf16(weight.memory), nullptr, y.device(), 130, 131, 203, x.ld, weight.ld, 131};
  if (const char* error = try_launch("gemm_forward_128x128_f32", 4, 1, params, 1)) return error;
  std::vector<double> expected(130 * 131);
  for (uint32_t r = 0; r < 130; ++r) {
    for (uint32_t c = 0; c < 131; ++c) {
      for (uint32_t i = 0; i < 203; ++i) expected[r * 131 + c] += double{x.at(r, i)} * weight.at(c, i);
    }
  }
  return relative_l2(y.read(), expected) < 1e-5 ? "right" : "differs";
}

}  // namespace testing
