// Reads and updates of the rows of embedding tables.
//
// A row of a large table is hardly ever in a cache, so rows are fetched some
// way ahead of their use.
//
// Each update takes the gradient of a lookup as it comes (row numbers with
// duplicates), sums the gradients of equal rows in the order of their
// occurrence, and updates the rows and their optimizer state in one pass. The
// same numbers come out for any number of threads.

#include <algorithm>
#include <cmath>
#include <vector>

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/framework/resource_var.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/util/work_sharder.h"

namespace ecdctr {
namespace {

using tensorflow::int64;
using tensorflow::mutex_lock;
using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Status;
using tensorflow::Tensor;
using tensorflow::Var;
using tensorflow::core::RefCountPtr;
namespace errors = tensorflow::errors;

// Rows fetched ahead of the one being read or updated.
constexpr int64 kAhead = 8;

// Fewer rows than these are not worth a second thread.
constexpr int64 kRowsToShare = 8192;

// The distinct rows of a batch, each with the chain of its occurrences.
struct Occurrences {
  std::vector<int> rows;   // distinct rows, in the order they first came up
  std::vector<int> first;  // distinct row -> its first occurrence
  std::vector<int> next;   // occurrence -> the next of the same row, or -1
};

Occurrences FindOccurrences(const int* indices, int64 count) {
  int bits = 4;
  while ((int64{1} << bits) < 2 * count) ++bits;
  const unsigned mask = (1u << bits) - 1;
  std::vector<int> slots(size_t{1} << bits, -1);  // hash -> distinct row
  Occurrences found;
  found.rows.reserve(count);
  found.first.reserve(count);
  found.next.assign(count, -1);
  std::vector<int> last;  // distinct row -> its last occurrence so far
  last.reserve(count);
  for (int64 i = 0; i < count; ++i) {
    const int row = indices[i];
    unsigned slot = (static_cast<unsigned>(row) * 2654435769u) >> (32 - bits);
    while (slots[slot] >= 0 && found.rows[slots[slot]] != row) {
      slot = (slot + 1) & mask;
    }
    if (slots[slot] < 0) {
      slots[slot] = static_cast<int>(found.rows.size());
      found.rows.push_back(row);
      found.first.push_back(static_cast<int>(i));
      last.push_back(static_cast<int>(i));
    } else {
      found.next[last[slots[slot]]] = static_cast<int>(i);
      last[slots[slot]] = static_cast<int>(i);
    }
  }
  return found;
}

// Row-wise Adagrad: state is one accumulator a row.
struct RowWiseAdagrad {
  static constexpr int kStates = 1;
  static constexpr int kSettings = 3;
  float rate, epsilon, decay;

  explicit RowWiseAdagrad(const float* s)
      : rate(s[0]), epsilon(s[1]), decay(s[2]) {}

  static int64 StateWidth(int64 width) { return 1; }

  void Update(float* w, float* const* state, const float* g, int64 width) const {
    float sum = 0;
    for (int64 d = 0; d < width; ++d) sum += g[d] * g[d];
    *state[0] += sum / static_cast<float>(width);
    const float scale = rate / (std::sqrt(*state[0]) + epsilon);
    for (int64 d = 0; d < width; ++d) {
      w[d] -= w[d] * decay;
      w[d] -= scale * g[d];
    }
  }
};

// Adam with a bias-corrected learning rate: state is two moments a weight.
struct Adam {
  static constexpr int kStates = 2;
  static constexpr int kSettings = 5;
  float rate, beta_1, beta_2, epsilon, decay;

  explicit Adam(const float* s)
      : rate(s[0]), beta_1(s[1]), beta_2(s[2]), epsilon(s[3]), decay(s[4]) {}

  static int64 StateWidth(int64 width) { return width; }

  void Update(float* w, float* const* state, const float* g, int64 width) const {
    float *m = state[0], *v = state[1];
    for (int64 d = 0; d < width; ++d) {
      m[d] = beta_1 * m[d] + (1 - beta_1) * g[d];
      v[d] = beta_2 * v[d] + (1 - beta_2) * g[d] * g[d];
      w[d] -= w[d] * decay;
      w[d] -= rate * m[d] / (std::sqrt(v[d]) + epsilon);
    }
  }
};

// Readers of the whole variable keep the values they have read.
Status MakeWritable(OpKernelContext* context, Var* variable) {
  if (variable->copy_on_read_mode.load()) return tensorflow::OkStatus();
  Tensor* tensor = variable->tensor();
  if (!tensor->RefCountIsOne()) {
    Tensor copy;
    TF_RETURN_IF_ERROR(
        context->allocate_temp(tensor->dtype(), tensor->shape(), &copy));
    std::copy_n(tensor->flat<float>().data(), tensor->NumElements(),
                copy.flat<float>().data());
    *tensor = copy;
  }
  variable->copy_on_read_mode.store(true);
  return tensorflow::OkStatus();
}

// Calls `work(begin, end)` on parts of `[0, count)`, on several threads where
// that pays.
template <class Work>
void InParallel(OpKernelContext* context, int64 count, int64 cost,
                const Work& work) {
  if (count < kRowsToShare) {
    work(0, count);
    return;
  }
  auto* workers = context->device()->tensorflow_cpu_worker_threads();
  tensorflow::Shard(workers->num_threads, workers->workers, count, cost, work);
}

template <class Rule>
class UpdateRowsOp : public OpKernel {
 public:
  explicit UpdateRowsOp(OpKernelConstruction* context) : OpKernel(context) {}

  void Compute(OpKernelContext* context) override {
    // Inputs: the table, its states, rows, gradient, settings.
    constexpr int kVariables = 1 + Rule::kStates;
    const Tensor& indices = context->input(kVariables);
    const Tensor& gradient = context->input(kVariables + 1);
    const Tensor& settings = context->input(kVariables + 2);
    const int64 count = indices.NumElements();
    if (count == 0) return;
    const int64 width = gradient.NumElements() / count;
    OP_REQUIRES(context, settings.NumElements() == Rule::kSettings,
                errors::InvalidArgument("expected ", Rule::kSettings,
                                        " settings, received ",
                                        settings.NumElements()));
    RefCountPtr<Var> variables[kVariables];
    std::vector<mutex_lock> locks;  // in the order of inputs, as in every step
    locks.reserve(kVariables);
    float* data[kVariables];
    int64 rows = 0;
    for (int i = 0; i < kVariables; ++i) {
      OP_REQUIRES_OK(context,
                     tensorflow::LookupResource(
                         context, tensorflow::HandleFromInput(context, i),
                         &variables[i]));
      locks.emplace_back(*variables[i]->mu());
      OP_REQUIRES_OK(context, MakeWritable(context, variables[i].get()));
      Tensor* tensor = variables[i]->tensor();
      data[i] = tensor->flat<float>().data();
      if (i == 0) rows = tensor->dim_size(0);
      const int64 expected = rows * (i == 0 ? width : Rule::StateWidth(width));
      OP_REQUIRES(context, tensor->NumElements() == expected,
                  errors::InvalidArgument("variable ", i, " has shape ",
                                          tensor->shape().DebugString(),
                                          ", the gradient ",
                                          gradient.shape().DebugString()));
    }
    const int* index = indices.flat<int>().data();
    for (int64 i = 0; i < count; ++i) {
      OP_REQUIRES(context, index[i] >= 0 && index[i] < rows,
                  errors::InvalidArgument("row ", index[i], " is not in [0, ",
                                          rows, ")"));
    }
    const Occurrences found = FindOccurrences(index, count);
    const float* gradients = gradient.flat<float>().data();
    const Rule rule(settings.flat<float>().data());
    auto update = [&](int64 begin, int64 end) {
      std::vector<float> sum(width);
      for (int64 i = begin; i < end; ++i) {
        if (i + kAhead < end) Prefetch(data, found.rows[i + kAhead], width);
        const float* g = gradients + found.first[i] * width;
        if (found.next[found.first[i]] >= 0) {
          std::copy_n(g, width, sum.data());
          for (int j = found.next[found.first[i]]; j >= 0; j = found.next[j]) {
            const float* more = gradients + j * width;
            for (int64 d = 0; d < width; ++d) sum[d] += more[d];
          }
          g = sum.data();
        }
        const int64 row = found.rows[i];
        float* state[Rule::kStates];
        for (int s = 0; s < Rule::kStates; ++s) {
          state[s] = data[1 + s] + row * Rule::StateWidth(width);
        }
        rule.Update(data[0] + row * width, state, g, width);
      }
    };
    InParallel(context, found.rows.size(), 100 + 20 * width, update);
  }

 private:
  static void Prefetch(float* const* data, int64 row, int64 width) {
    __builtin_prefetch(data[0] + row * width, 1);
    for (int s = 0; s < Rule::kStates; ++s) {
      __builtin_prefetch(data[1 + s] + row * Rule::StateWidth(width), 1);
    }
  }
};

// Rows of a table; row 0 for numbers that are not in [0, known).
class LookupOp : public OpKernel {
 public:
  explicit LookupOp(OpKernelConstruction* context) : OpKernel(context) {}

  void Compute(OpKernelContext* context) override {
    RefCountPtr<Var> variable;
    OP_REQUIRES_OK(
        context,
        tensorflow::LookupResource(
            context, tensorflow::HandleFromInput(context, 0), &variable));
    const Tensor& numbers = context->input(1);
    const int known = context->input(2).scalar<int>()();
    tensorflow::tf_shared_lock lock(*variable->mu());
    const Tensor& table = *variable->tensor();
    const int64 count = numbers.NumElements();
    const int64 width = table.dim_size(1);
    OP_REQUIRES(context, known > 0 && known <= table.dim_size(0),
                errors::InvalidArgument(known, " known rows in a table of ",
                                        table.dim_size(0)));
    Tensor *vectors, *rows;
    OP_REQUIRES_OK(context,
                   context->allocate_output(0, {count, width}, &vectors));
    OP_REQUIRES_OK(context, context->allocate_output(1, {count}, &rows));
    const int* number = numbers.flat<int>().data();
    int* row = rows->flat<int>().data();
    const float* from = table.flat<float>().data();
    float* to = vectors->flat<float>().data();
    auto read = [&](int64 begin, int64 end) {
      for (int64 i = begin; i < end; ++i) {
        row[i] = number[i] >= 0 && number[i] < known ? number[i] : 0;
      }
      for (int64 i = begin; i < end; ++i) {
        if (i + kAhead < end) {
          __builtin_prefetch(from + int64{row[i + kAhead]} * width);
        }
        std::copy_n(from + int64{row[i]} * width, width, to + i * width);
      }
    };
    InParallel(context, count, 50 + width, read);
  }
};

REGISTER_OP("EcdctrLookup")
    .Input("table: resource")
    .Input("numbers: int32")
    .Input("known: int32")
    .Output("vectors: float")
    .Output("rows: int32")
    .SetIsStateful()
    .SetShapeFn(tensorflow::shape_inference::UnknownShape);

REGISTER_OP("EcdctrRowWiseAdagrad")
    .Input("table: resource")
    .Input("accumulator: resource")
    .Input("rows: int32")
    .Input("gradient: float")
    .Input("settings: float")
    .SetIsStateful()
    .SetShapeFn(tensorflow::shape_inference::NoOutputs);

REGISTER_OP("EcdctrLazyAdam")
    .Input("table: resource")
    .Input("first_moment: resource")
    .Input("second_moment: resource")
    .Input("rows: int32")
    .Input("gradient: float")
    .Input("settings: float")
    .SetIsStateful()
    .SetShapeFn(tensorflow::shape_inference::NoOutputs);

REGISTER_KERNEL_BUILDER(Name("EcdctrLookup").Device(tensorflow::DEVICE_CPU),
                        LookupOp);
REGISTER_KERNEL_BUILDER(
    Name("EcdctrRowWiseAdagrad").Device(tensorflow::DEVICE_CPU),
    UpdateRowsOp<RowWiseAdagrad>);
REGISTER_KERNEL_BUILDER(Name("EcdctrLazyAdam").Device(tensorflow::DEVICE_CPU),
                        UpdateRowsOp<Adam>);

}  // namespace
}  // namespace ecdctr
