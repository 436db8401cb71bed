"""Chats exported from WhatsApp, Telegram, Discord and Slack, made into conversations to learn from.

    recognise   which format a file is, by its content, and its messages (whatsapp, telegram, discord, slack)
    cleaning    what may not stay in a text: invisible marks, e-mail addresses, phone numbers, links
    spool       all messages in order, on the disk, so that an export may be larger than the memory
    talks       bursts merged, conversations cut by silence, speakers mapped to user and assistant
    splitting   the earlier conversations to learn from, the later ones to validate on

Everything is read as a stream: a message is in memory, and a conversation, but never a file.
"""
