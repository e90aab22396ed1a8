// Follows targets through a video with an exported tracker, in ONNX Runtime's C++ API and nothing else.
//
//     g++ -std=c++17 -O2 track.cpp -o track $(pkg-config --cflags --libs libonnxruntime)
//     ffmpeg -loglevel error -i clip.mp4 -f image2pipe -c:v ppm - | ./track siamcar_lite0.onnx 132,170,100,72
//
// The model is a file of `siamtrack export`, or one that ships with siamtrack; the boxes are x,y,w,h in the first frame,
// one for each target. Frames come as binary PPM images, one after the other, and boxes go out as lines of CSV.
#include <onnxruntime_cxx_api.h>

#include <array>
#include <cctype>
#include <cstdio>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

struct Frame {
    int64_t width = 0, height = 0;
    std::vector<uint8_t> pixels;  // RGB, row by row
};

// One number of a PPM's header, behind spaces and comments.
static int64_t header_number(std::istream& in) {
    while (std::isspace(in.peek()) || in.peek() == '#') {
        if (in.get() == '#') in.ignore(1 << 20, '\n');
    }
    int64_t value = 0;
    if (!(in >> value) || value < 1 || value > 65535) throw std::runtime_error("a frame's header is damaged");
    return value;
}

// Reads the next frame; false at the end.
static bool read_frame(std::istream& in, Frame& frame) {
    char magic[2];
    if (!in.read(magic, 2)) return false;
    if (magic[0] != 'P' || magic[1] != '6') throw std::runtime_error("expected binary PPM images (P6) as frames");
    const int64_t width = header_number(in), height = header_number(in);
    if (header_number(in) != 255) throw std::runtime_error("expected PPM images of 8 bits");
    const bool same = !frame.width || (frame.width == width && frame.height == height);
    if (!same) throw std::runtime_error("all frames must be of one size");
    frame.width = width, frame.height = height;
    frame.pixels.resize(static_cast<size_t>(width * height * 3));
    in.get();
    if (!in.read(reinterpret_cast<char*>(frame.pixels.data()), static_cast<std::streamsize>(frame.pixels.size()))) {
        throw std::runtime_error("the last frame is cut off");
    }
    return true;
}

class Tracker {
public:
    explicit Tracker(const char* path) : session_(env_, path, options()) {
        Ort::AllocatorWithDefaultOptions allocator;
        for (size_t i = 0; i < session_.GetInputCount(); ++i) {
            const std::string name = session_.GetInputNameAllocated(i, allocator).get();
            inputs_.push_back(name);
            if (name == "frame" || name == "boxes") continue;
            if (name.rfind("state.", 0)) throw std::runtime_error("this file is no tracker that siamtrack exported");
            const auto type = session_.GetInputTypeInfo(i);  // of a state, which has no targets to begin with
            auto shape = type.GetTensorTypeAndShapeInfo().GetShape();
            shape[0] = 0;
            state_[name.substr(6)] = Ort::Value::CreateTensor(allocator, shape.data(), shape.size(),
                                                              type.GetTensorTypeAndShapeInfo().GetElementType());
        }
        for (size_t i = 0; i < session_.GetOutputCount(); ++i) {
            outputs_.push_back(session_.GetOutputNameAllocated(i, allocator).get());
        }
    }

    // Rows of x, y, w, h, score and presence. With boxes (four numbers a target) it begins with them in this frame;
    // without, it follows its targets into it.
    std::vector<std::array<float, 6>> run(Frame& frame, std::vector<float> boxes = {}) {
        const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
        const std::array<int64_t, 3> size{frame.height, frame.width, 3};
        const std::array<int64_t, 2> rows{static_cast<int64_t>(boxes.size() / 4), 4};
        boxes.reserve(4);  // a pointer is wanted also for no boxes
        std::vector<const char*> in, out;
        std::vector<Ort::Value> values;
        for (const auto& name : inputs_) {
            in.push_back(name.c_str());
            if (name == "frame") {
                values.push_back(Ort::Value::CreateTensor<uint8_t>(memory, frame.pixels.data(), frame.pixels.size(),
                                                                   size.data(), size.size()));
            } else if (name == "boxes") {
                values.push_back(Ort::Value::CreateTensor<float>(memory, boxes.data(), boxes.size(), rows.data(), 2));
            } else {
                values.push_back(std::move(state_.at(name.substr(6))));
            }
        }
        for (const auto& name : outputs_) out.push_back(name.c_str());
        auto found = session_.Run({}, in.data(), values.data(), in.size(), out.data(), out.size());
        std::map<std::string, Ort::Value> named;
        for (size_t i = 0; i < found.size(); ++i) {
            const bool next = outputs_[i].rfind("next.", 0) == 0;
            (next ? state_ : named)[next ? outputs_[i].substr(5) : outputs_[i]] = std::move(found[i]);
        }
        const float* tracked = named.at("tracked").GetTensorData<float>();
        const float* scores = named.at("scores").GetTensorData<float>();
        const float* presence = named.at("presence").GetTensorData<float>();
        std::vector<std::array<float, 6>> results(named.at("scores").GetTensorTypeAndShapeInfo().GetElementCount());
        for (size_t n = 0; n < results.size(); ++n, tracked += 4) {
            results[n] = {tracked[0], tracked[1], tracked[2], tracked[3], scores[n], presence[n]};
        }
        return results;
    }

private:
    static Ort::SessionOptions options() {
        Ort::SessionOptions made;
        made.SetIntraOpNumThreads(1);
        return made;
    }

    Ort::Env env_{ORT_LOGGING_LEVEL_ERROR, "track"};
    Ort::Session session_;
    std::vector<std::string> inputs_, outputs_;
    std::map<std::string, Ort::Value> state_;
};

int main(int count, char** arguments) try {
    if (count < 3) throw std::runtime_error("usage: track MODEL.onnx X,Y,W,H [X,Y,W,H ..] < FRAMES.ppm");
    Tracker tracker(arguments[1]);
    std::ios::sync_with_stdio(false);
    Frame frame;
    if (!read_frame(std::cin, frame)) throw std::runtime_error("expected binary PPM images on the standard input; got none");
    std::vector<float> boxes;
    for (int i = 2; i < count; ++i) {
        float x, y, w, h;
        if (std::sscanf(arguments[i], "%f,%f,%f,%f", &x, &y, &w, &h) != 4 ||
            !(w > 0 && h > 0 && x < frame.width && y < frame.height && x + w > 0 && y + h > 0)) {
            throw std::runtime_error(std::string("expected a box x,y,w,h in the frame; got ") + arguments[i]);
        }
        boxes.insert(boxes.end(), {x, y, w, h});
    }
    std::printf("frame,target,x,y,w,h,score,presence,status\n");
    for (int number = 0; number == 0 || read_frame(std::cin, frame); ++number) {
        const auto found = tracker.run(frame, number ? std::vector<float>{} : boxes);
        for (size_t n = 0; n < found.size(); ++n) {
            const auto& r = found[n];
            const char* status = r[5] < 1 / 3.f ? "lost" : r[5] < 2 / 3.f ? "uncertain" : "tracking";
            std::printf("%d,%zu,%.3f,%.3f,%.3f,%.3f,%.4f,%.4f,%s\n", number, n, r[0], r[1], r[2], r[3], r[4], r[5], status);
        }
    }
} catch (const std::exception& error) {
    std::fprintf(stderr, "track: %s\n", error.what());
    return 2;
}
