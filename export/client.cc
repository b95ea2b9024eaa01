// Loads SavedModels and answers requests as a C++ server does, on one thread.
//
//   client PLAN RUNS
//
// PLAN has a line for each way: its name, the SavedModel, the signature and the
// file of its request, separated by tabs. A request is a TFRecord file of
// NamedTensorProtos, one for each input. What the first call answers is written
// to `<request>.answers` in the same form. After that the ways take turns, RUNS
// times, and the seconds of each call are printed, one line for each way.

#include <chrono>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/lib/io/record_reader.h"
#include "tensorflow/core/lib/io/record_writer.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/protobuf/named_tensor.pb.h"
#include "tensorflow/core/public/session_options.h"

namespace tf = tensorflow;

namespace {

struct Way {
  std::string name;
  tf::SavedModelBundle* model;
  std::vector<std::pair<std::string, tf::Tensor>> inputs;
  std::vector<std::string> outputs, fetches;
  std::string answers;
  std::vector<double> seconds;
};

void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::cerr << status.ToString() << std::endl;
  std::exit(1);
}

std::vector<tf::NamedTensorProto> Read(const std::string& path) {
  std::unique_ptr<tf::RandomAccessFile> file;
  Check(tf::Env::Default()->NewRandomAccessFile(path, &file));
  tf::io::RecordReader reader(file.get());
  std::vector<tf::NamedTensorProto> found;
  tf::uint64 offset = 0;
  tf::tstring record;
  while (reader.ReadRecord(&offset, &record).ok()) {
    found.emplace_back();
    found.back().ParseFromArray(record.data(), record.size());
  }
  return found;
}

void Write(const Way& way, const std::vector<tf::Tensor>& answers) {
  std::unique_ptr<tf::WritableFile> file;
  Check(tf::Env::Default()->NewWritableFile(way.answers, &file));
  tf::io::RecordWriter writer(file.get());
  for (size_t i = 0; i < answers.size(); ++i) {
    tf::NamedTensorProto proto;
    proto.set_name(way.outputs[i]);
    answers[i].AsProtoField(proto.mutable_tensor());
    Check(writer.WriteRecord(proto.SerializeAsString()));
  }
  Check(writer.Close());
  Check(file->Close());
}

std::vector<tf::Tensor> Call(const Way& way) {
  std::vector<tf::Tensor> answers;
  Check(way.model->session->Run(way.inputs, way.fetches, {}, &answers));
  return answers;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: client PLAN RUNS" << std::endl;
    return 2;
  }
  const int runs = std::stoi(argv[2]);
  tf::SessionOptions options;
  options.config.set_intra_op_parallelism_threads(1);
  options.config.set_inter_op_parallelism_threads(1);
  std::map<std::string, std::unique_ptr<tf::SavedModelBundle>> models;
  std::vector<Way> ways;
  std::ifstream plan(argv[1]);
  for (std::string line; std::getline(plan, line);) {
    std::istringstream fields(line);
    std::string name, directory, signature, request;
    std::getline(fields, name, '\t');
    std::getline(fields, directory, '\t');
    std::getline(fields, signature, '\t');
    std::getline(fields, request, '\t');
    auto& model = models[directory];
    if (!model) {
      model = std::make_unique<tf::SavedModelBundle>();
      Check(tf::LoadSavedModel(options, tf::RunOptions(), directory,
                               {"serve"}, model.get()));
    }
    const auto& def = model->GetSignatures().at(signature);
    Way way{name, model.get()};
    way.answers = request + ".answers";
    for (const auto& proto : Read(request)) {
      tf::Tensor tensor;
      if (!tensor.FromProto(proto.tensor())) {
        std::cerr << proto.name() << " is damaged" << std::endl;
        return 1;
      }
      way.inputs.emplace_back(def.inputs().at(proto.name()).name(), tensor);
    }
    for (const auto& [output, info] : def.outputs()) {
      way.outputs.push_back(output);
      way.fetches.push_back(info.name());
    }
    ways.push_back(std::move(way));
  }
  for (const Way& way : ways) Write(way, Call(way));
  for (int run = 0; run < runs; ++run) {
    for (Way& way : ways) {
      const auto began = std::chrono::steady_clock::now();
      Call(way);
      const std::chrono::duration<double> took =
          std::chrono::steady_clock::now() - began;
      way.seconds.push_back(took.count());
    }
  }
  for (const Way& way : ways) {
    std::cout << way.name;
    for (double second : way.seconds) std::cout << '\t' << second;
    std::cout << '\n';
  }
}
