"""Everything that needs a GPU, in one command: `python -m benchmarks.gpu_suite`.

parts        the seven parts, in the order of what they tell, and their share of the time
bench        what a part is given: device, sizes, clock, and the record that it writes after every case
clock        times on a GPU and on a CPU
machine      what stands beside figures
sizes        Mistral-7B's shape, and a toy's for a CPU
weights      random weights of a shape, in our engine and in transformers
backends     attention: ours, PyTorch's FlashAttention-2, FlexAttention, FlashAttention-3
graphs       one request and one step of decoding, kept in a CUDA graph
correctness, ceilings, attention, judging, decoding, streaming, memory
             the parts
table        what is known, beside ceilings and targets

Attention and ceilings need torch and Triton alone; what runs the engine needs msgspec and safetensors as well; what is
held against transformers needs transformers. What is missing is an error of the cases that ask for it.
"""
