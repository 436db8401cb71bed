"""Importers: chats exported from WhatsApp, Telegram, Discord and Slack become conversations to learn from.

    export_files                           the files of an export, also within folders and zip archives
    formats                                which app they come from, recognised by their content
    whatsapp, telegram, discord, slack     the messages of each app
    messages, clean                        what a message is, why one is skipped, and what is redacted
    sort                                   all messages sorted on disk, so that an export may be larger than memory
    segment                                messages cut into conversations, mapped to user and assistant, and split

Everything is read as a stream: memory holds a message or a conversation, never a file.
"""
