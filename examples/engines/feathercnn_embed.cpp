// Embeds an aligned crop with FeatherCNN. Mean, norm and the names of the blobs are in
// NAME.feathercnn.json. FeatherCNN prints messages of its own to standard output, before the numbers.
//
//     feathercnn_embed NAME.feathercnn.param NAME.feathercnn.bin INPUT OUTPUT MEAN NORM crop.ppm
//
// Build: g++ -O2 -std=c++11 feathercnn_embed.cpp -I FEATHER/src -I FEATHER/src/booster/include
//            libfeather.a FEATHER/src/ncnn/{mat,modelbin,paramdict}.cpp -fopenmp
#include <net.h>

#include <cstdlib>

#include "crop.h"

int main(int count, char** words) {
    Crop crop;
    if (count != 8 || !read_crop(words[7], crop)) {
        std::fprintf(stderr, "usage: feathercnn_embed PARAM BIN INPUT OUTPUT MEAN NORM CROP.ppm\n");
        return 2;
    }
    feather::Net net;
    if (net.LoadParam(words[1]) || net.LoadWeights(words[2])) return 1;
    ncnn::Mat in(crop.width, crop.height, crop.channels);
    for (int c = 0; c < crop.channels; ++c)
        write_channel(crop, c, std::atof(words[5]), std::atof(words[6]), in.channel(c));
    if (net.FeedInput(words[3], in) || net.Forward()) return 1;
    float* out = nullptr;  // the overload for ncnn::Mat copies the first channel to all of them
    int n = 0, c = 0, h = 0, w = 0;
    if (net.Extract(words[4], &out, &n, &c, &h, &w)) return 1;
    print_unit(out, n * c * h * w);
}
