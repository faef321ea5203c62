// Embeds an aligned crop with ncnn. Mean, norm and the names of the blobs are in NAME.ncnn.json.
//
//     ncnn_embed NAME.param NAME.bin in0 out0 MEAN NORM crop.ppm
//
// Build: g++ -O2 -std=c++11 ncnn_embed.cpp -I NCNN/include/ncnn NCNN/lib/libncnn.a -fopenmp
#include <net.h>

#include <cstdlib>

#include "crop.h"

int main(int count, char** words) {
    Crop crop;
    if (count != 8 || !read_crop(words[7], crop)) {
        std::fprintf(stderr, "usage: ncnn_embed PARAM BIN INPUT OUTPUT MEAN NORM CROP.ppm\n");
        return 2;
    }
    ncnn::Net net;
    net.opt.use_fp16_arithmetic = false;  // as "options" in the sidecar says
    if (net.load_param(words[1]) || net.load_model(words[2])) return 1;
    ncnn::Mat in(crop.width, crop.height, crop.channels);
    for (int c = 0; c < crop.channels; ++c)
        write_channel(crop, c, std::atof(words[5]), std::atof(words[6]), in.channel(c));
    ncnn::Extractor extractor = net.create_extractor();
    ncnn::Mat out;
    if (extractor.input(words[3], in) || extractor.extract(words[4], out)) return 1;
    print_unit(out, out.w * out.h * out.c);
}
