// What both examples share: an aligned crop as a binary PPM (colour) or PGM (grey) file.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <vector>

struct Crop {
    int channels = 0, height = 0, width = 0;
    std::vector<unsigned char> pixels;  // height x width x channels, RGB or grey
};

// Reads a file without comments, as OpenCV's imwrite writes it; false if it is not one.
inline bool read_crop(const char* path, Crop& crop) {
    std::FILE* file = std::fopen(path, "rb");
    if (!file) return false;
    char kind = 0;
    int largest = 0;
    bool good = std::fscanf(file, "P%c %d %d %d", &kind, &crop.width, &crop.height, &largest) == 4;
    std::fgetc(file);
    crop.channels = kind == '6' ? 3 : 1;
    good = good && (kind == '5' || kind == '6') && largest == 255 && crop.width > 0 &&
           crop.width < 4096 && crop.height > 0 && crop.height < 4096;
    if (good) {
        crop.pixels.resize(std::size_t(crop.width) * crop.height * crop.channels);
        good = std::fread(crop.pixels.data(), 1, crop.pixels.size(), file) == crop.pixels.size();
    }
    std::fclose(file);
    return good;
}

// Writes (pixel - mean) * norm of one channel, row by row.
inline void write_channel(const Crop& crop, int channel, float mean, float norm, float* to) {
    for (int i = 0; i < crop.width * crop.height; ++i)
        to[i] = (crop.pixels[std::size_t(i) * crop.channels + channel] - mean) * norm;
}

// Prints an embedding of unit length, one number a line.
inline void print_unit(const float* values, int count) {
    double sum = 0;
    for (int i = 0; i < count; ++i) sum += double(values[i]) * values[i];
    for (int i = 0; i < count; ++i) std::printf("%.9g\n", values[i] / std::sqrt(sum));
}
