"""Conversations and text that people made, ready for a model. In the order of the pipeline:

files            what `--data` names, resolved once: paths, kind, fingerprints; hub fetches data sets by name
conversations    JSON files become conversations, read through json_stream; text: plain text becomes documents
tokenizers/      text becomes token ids and back
chat_template    conversations become tokens with a loss mask, and prompts
token_store      tokens on disk, memory-mapped, split into training and validation
packing          whole documents in rows, and batches that depend only on the step; next_reply asks about replies
dataset          all of it, from a DataConfig to token stores
importers/       exported chats of other apps become files of conversations
"""
