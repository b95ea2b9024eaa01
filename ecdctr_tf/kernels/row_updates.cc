// Reads and updates of the rows of embedding tables.
//
// A row of a large table is hardly ever in a cache, so rows are fetched some
// way ahead of their use.
//
// One op does all tables of a model. An update takes the gradients of lookups
// as they come (row numbers with duplicates), sums the gradients of equal rows
// in the order of their occurrence, and updates the rows and their optimizer
// state in one pass. The same numbers come out for any number of threads.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <mutex>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

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
using tensorflow::OpInputList;
using tensorflow::OpOutputList;
using tensorflow::ResourceHandle;
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
  static constexpr int kSettings = 2;
  float rate, epsilon, decay;

  RowWiseAdagrad(const float* s, float decay)
      : rate(s[0]), epsilon(s[1]), decay(decay) {}

  static int64 StateWidth(int64 width) { return 1; }

  void Update(float* __restrict w, float* const* state, const float* __restrict g,
              int64 width) const {
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
  static constexpr int kSettings = 4;
  float rate, beta_1, beta_2, epsilon, decay;

  Adam(const float* s, float decay)
      : rate(s[0]), beta_1(s[1]), beta_2(s[2]), epsilon(s[3]), decay(decay) {}

  static int64 StateWidth(int64 width) { return width; }

  void Update(float* __restrict w, float* const* state, const float* __restrict g,
              int64 width) const {
    float* __restrict m = state[0];
    float* __restrict v = state[1];
    for (int64 d = 0; d < width; ++d) {
      m[d] = beta_1 * m[d] + (1 - beta_1) * g[d];
      v[d] = beta_2 * v[d] + (1 - beta_2) * g[d] * g[d];
      w[d] -= w[d] * decay;
      w[d] -= rate * m[d] / (std::sqrt(v[d]) + epsilon);
    }
  }
};

// Asks Linux (6.1 and newer) to hold values in pages of 2 MB. Rows lie anywhere
// in a table, and in pages of 4 KB finding the page of a row costs as much as
// the row. Where it cannot be done, everything works as before.
void UseLargePages(float* values, int64 count) {
#if defined(__linux__)
  constexpr int kCollapse = 25;  // MADV_COLLAPSE, which older headers lack
  constexpr std::uintptr_t kPage = 1 << 21;
  const auto address = reinterpret_cast<std::uintptr_t>(values);
  const auto begin = (address + kPage - 1) / kPage * kPage;
  const auto end = (address + count * sizeof(float)) / kPage * kPage;
  if (begin < end) {
    madvise(reinterpret_cast<void*>(begin), end - begin, kCollapse);
  }
#endif
}

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

// The variables of an op, each once, locked as long as this lives.
class Variables {
 public:
  Status Add(OpKernelContext* context, const OpInputList& handles) {
    for (int i = 0; i < handles.size(); ++i) {
      variables_.emplace_back();
      TF_RETURN_IF_ERROR(tensorflow::LookupResource(
          context, handles[i].scalar<ResourceHandle>()(), &variables_.back()));
    }
    return tensorflow::OkStatus();
  }

  // The order is that of addresses: two ops never wait for each other.
  template <class Lock>
  std::vector<Lock> Locked() const {
    std::vector<Var*> once;
    for (const auto& variable : variables_) once.push_back(variable.get());
    std::sort(once.begin(), once.end());
    once.erase(std::unique(once.begin(), once.end()), once.end());
    std::vector<Lock> locks;
    locks.reserve(once.size());
    for (Var* variable : once) locks.emplace_back(*variable->mu());
    return locks;
  }

  Var* operator[](int i) const { return variables_[i].get(); }

 private:
  std::vector<RefCountPtr<Var>> variables_;
};

// Calls `work(begin, end)` on parts of `[0, count)`, on several threads where
// that pays for the rows that there are.
template <class Work>
void Share(OpKernelContext* context, int64 rows, int64 count, int64 cost,
           const Work& work) {
  if (rows < kRowsToShare) {
    work(0, count);
    return;
  }
  auto* workers = context->device()->tensorflow_cpu_worker_threads();
  tensorflow::Shard(workers->num_threads, workers->workers, count, cost, work);
}

// Calls `work(table, begin, end)` on parts of `[0, counts[table])` of each
// table, on several threads where that pays.
template <class Work>
void ForParts(OpKernelContext* context, const std::vector<int64>& counts,
              int64 cost, const Work& work) {
  std::vector<int64> ends;
  int64 total = 0;
  for (const int64 count : counts) ends.push_back(total += count);
  auto work_on = [&](int64 begin, int64 end) {
    size_t table =
        std::upper_bound(ends.begin(), ends.end(), begin) - ends.begin();
    for (; begin < end; ++table) {
      const int64 stop = std::min(end, ends[table]);
      const int64 first = ends[table] - counts[table];
      if (begin < stop) work(table, begin - first, stop - first);
      begin = stop;
    }
  };
  Share(context, total, total, cost, work_on);
}

template <class Rule>
class UpdateRowsOp : public OpKernel {
 public:
  explicit UpdateRowsOp(OpKernelConstruction* context) : OpKernel(context) {}

  void Compute(OpKernelContext* context) override {
    OpInputList tables, states, rows, gradients;
    OP_REQUIRES_OK(context, context->input_list("tables", &tables));
    OP_REQUIRES_OK(context, context->input_list("states", &states));
    OP_REQUIRES_OK(context, context->input_list("rows", &rows));
    OP_REQUIRES_OK(context, context->input_list("gradients", &gradients));
    const Tensor *settings, *decays;
    OP_REQUIRES_OK(context, context->input("settings", &settings));
    OP_REQUIRES_OK(context, context->input("decays", &decays));
    const int count = tables.size();
    OP_REQUIRES(context,
                states.size() == count * Rule::kStates &&
                    decays->NumElements() == count &&
                    settings->NumElements() == Rule::kSettings,
                errors::InvalidArgument(
                    "expected ", Rule::kStates, " states and a decay a table, ",
                    Rule::kSettings, " settings; received ", count, " tables, ",
                    states.size(), " states, ", decays->NumElements(),
                    " decays, ", settings->NumElements(), " settings"));
    Variables variables;  // the tables, then the states
    OP_REQUIRES_OK(context, variables.Add(context, tables));
    OP_REQUIRES_OK(context, variables.Add(context, states));
    const auto locks = variables.template Locked<mutex_lock>();
    std::vector<Table> found(count);
    std::vector<int64> lookups(count);
    for (int t = 0; t < count; ++t) {
      Table& table = found[t];
      lookups[t] = rows[t].NumElements();
      if (lookups[t] == 0) continue;
      table.width = gradients[t].NumElements() / lookups[t];
      table.indices = rows[t].flat<int>().data();
      table.gradients = gradients[t].flat<float>().data();
      OP_REQUIRES_OK(context, Find(context, variables[t], -1, &table));
      for (int s = 0; s < Rule::kStates; ++s) {
        Var* state = variables[count + t * Rule::kStates + s];
        OP_REQUIRES_OK(context, Find(context, state, s, &table));
      }
      for (int64 i = 0; i < lookups[t]; ++i) {
        const int row = table.indices[i];
        OP_REQUIRES(context, row >= 0 && row < table.rows,
                    errors::InvalidArgument("row ", row, " is not in [0, ",
                                            table.rows, ")"));
      }
    }
    MoveToLargePages(found);
    FindAll(context, lookups, &found);
    std::vector<int64> distinct;
    int64 width = 0;
    for (const Table& table : found) {
      distinct.push_back(table.occurrences.rows.size());
      width = std::max(width, table.width);
    }
    const float* shared = settings->flat<float>().data();
    const float* decay = decays->flat<float>().data();
    ForParts(context, distinct, 100 + 20 * width,
             [&](int t, int64 begin, int64 end) {
               found[t].Update(Rule(shared, decay[t]), begin, end);
             });
  }

 private:
  struct Table {
    float* weights;
    float* states[Rule::kStates];
    int64 rows = 0, width = 0;
    const int* indices;
    const float* gradients;
    Occurrences occurrences;

    void Update(const Rule& rule, int64 begin, int64 end) const {
      const Occurrences& found = occurrences;
      std::vector<float> sum(width);
      for (int64 i = begin; i < end; ++i) {
        if (i + kAhead < end) Prefetch(found.rows[i + kAhead]);
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
          state[s] = states[s] + row * Rule::StateWidth(width);
        }
        rule.Update(weights + row * width, state, g, width);
      }
    }

    void Prefetch(int64 row) const {
      __builtin_prefetch(weights + row * width, 1);
      for (int s = 0; s < Rule::kStates; ++s) {
        __builtin_prefetch(states[s] + row * Rule::StateWidth(width), 1);
      }
    }
  };

  // Finds the values of a table (`state` -1) or of a state.
  static Status Find(OpKernelContext* context, Var* variable, int state,
                     Table* table) {
    TF_RETURN_IF_ERROR(MakeWritable(context, variable));
    Tensor* tensor = variable->tensor();
    float* data = tensor->flat<float>().data();
    if (state < 0) {
      table->weights = data;
      table->rows = tensor->dim_size(0);
    } else {
      table->states[state] = data;
    }
    const int64 width =
        state < 0 ? table->width : Rule::StateWidth(table->width);
    if (tensor->NumElements() == table->rows * width) {
      return tensorflow::OkStatus();
    }
    return errors::InvalidArgument(
        "a table of ", table->rows, " rows, gradients of width ", table->width,
        " and ", state < 0 ? "weights" : "a state", " of shape ",
        tensor->shape().DebugString(), " do not go together");
  }

  // Once for each buffer: whoever assigns a variable gives it another one.
  void MoveToLargePages(const std::vector<Table>& tables) {
    const std::lock_guard<std::mutex> lock(mutex_);
    moved_.resize(tables.size());
    for (size_t t = 0; t < tables.size(); ++t) {
      const Table& table = tables[t];
      if (table.rows == 0 || table.weights == moved_[t]) continue;
      moved_[t] = table.weights;
      UseLargePages(table.weights, table.rows * table.width);
      for (float* state : table.states) {
        UseLargePages(state, table.rows * Rule::StateWidth(table.width));
      }
    }
  }

  static void FindAll(OpKernelContext* context,
                      const std::vector<int64>& lookups,
                      std::vector<Table>* tables) {
    int64 total = 0;
    for (const int64 count : lookups) total += count;
    auto find = [&](int64 begin, int64 end) {
      for (int64 t = begin; t < end; ++t) {
        Table& table = (*tables)[t];
        table.occurrences = FindOccurrences(table.indices, lookups[t]);
      }
    };
    const int64 count = tables->size();
    Share(context, total, count, 20 * total / count, find);
  }

  std::mutex mutex_;
  std::vector<const float*> moved_;  // table -> its weights, in large pages
};

// Rows of tables; row 0 for numbers that are not in [0, known).
class LookupOp : public OpKernel {
 public:
  explicit LookupOp(OpKernelConstruction* context) : OpKernel(context) {}

  void Compute(OpKernelContext* context) override {
    OpInputList tables, numbers, known;
    OpOutputList vectors, rows;
    OP_REQUIRES_OK(context, context->input_list("tables", &tables));
    OP_REQUIRES_OK(context, context->input_list("numbers", &numbers));
    OP_REQUIRES_OK(context, context->input_list("known", &known));
    OP_REQUIRES_OK(context, context->output_list("vectors", &vectors));
    OP_REQUIRES_OK(context, context->output_list("rows", &rows));
    Variables variables;
    OP_REQUIRES_OK(context, variables.Add(context, tables));
    const auto locks = variables.Locked<tensorflow::tf_shared_lock>();
    std::vector<Read> reads(tables.size());
    std::vector<int64> counts;
    int64 widest = 0;
    for (int t = 0; t < tables.size(); ++t) {
      const Tensor& table = *variables[t]->tensor();
      const int64 count = numbers[t].NumElements();
      Read& read = reads[t];
      read.width = table.dim_size(1);
      read.known = known[t].scalar<int>()();
      OP_REQUIRES(context, read.known > 0 && read.known <= table.dim_size(0),
                  errors::InvalidArgument(read.known, " known rows in a table",
                                          " of ", table.dim_size(0)));
      Tensor *to, *row;
      OP_REQUIRES_OK(context, vectors.allocate(t, {count, read.width}, &to));
      OP_REQUIRES_OK(context, rows.allocate(t, {count}, &row));
      read.from = table.flat<float>().data();
      read.numbers = numbers[t].flat<int>().data();
      read.to = to->flat<float>().data();
      read.rows = row->flat<int>().data();
      counts.push_back(count);
      widest = std::max(widest, read.width);
    }
    ForParts(context, counts, 50 + widest,
             [&](int t, int64 begin, int64 end) { reads[t].Run(begin, end); });
  }

 private:
  struct Read {
    const float* from;
    const int* numbers;
    float* to;
    int* rows;
    int64 width;
    int known;

    void Run(int64 begin, int64 end) const {
      for (int64 i = begin; i < end; ++i) {
        rows[i] = numbers[i] >= 0 && numbers[i] < known ? numbers[i] : 0;
      }
      for (int64 i = begin; i < end; ++i) {
        if (i + kAhead < end) {
          __builtin_prefetch(from + int64{rows[i + kAhead]} * width);
        }
        std::copy_n(from + int64{rows[i]} * width, width, to + i * width);
      }
    }
  };
};

REGISTER_OP("EcdctrLookup")
    .Attr("N: int >= 1")
    .Input("tables: N * resource")
    .Input("numbers: N * int32")
    .Input("known: N * int32")
    .Output("vectors: N * float")
    .Output("rows: N * int32")
    .SetIsStateful()
    .SetShapeFn(tensorflow::shape_inference::UnknownShape);

REGISTER_OP("EcdctrRowWiseAdagrad")
    .Attr("N: int >= 1")
    .Attr("M: int >= 1")
    .Input("tables: N * resource")
    .Input("states: M * resource")
    .Input("rows: N * int32")
    .Input("gradients: N * float")
    .Input("settings: float")
    .Input("decays: float")
    .SetIsStateful()
    .SetShapeFn(tensorflow::shape_inference::NoOutputs);

REGISTER_OP("EcdctrLazyAdam")
    .Attr("N: int >= 1")
    .Attr("M: int >= 1")
    .Input("tables: N * resource")
    .Input("states: M * resource")
    .Input("rows: N * int32")
    .Input("gradients: N * float")
    .Input("settings: float")
    .Input("decays: float")
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
