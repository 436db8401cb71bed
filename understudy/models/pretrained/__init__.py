"""Published weights as models of this package, and back: GPT-1 (Radford 2018) and GPT-2 (Radford 2019).

They are read from a folder, which the Hub gives or which lies there already, in one of two layouts:

transformers' format     config.json, model.safetensors, and tokenizer.json or vocab.json with merges.txt
the release of 2018      params_0.npy to params_9.npy, params_shapes.json, encoder_bpe_40000.json, vocab_40000.bpe
"""
