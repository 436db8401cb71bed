"""What WhatsApp writes in place of a message, in the languages it does so in.

Its exports speak the language of the phone. The phrases are those of the app's own interface; anything it puts in
angle brackets, and on iPhones anything behind a left-to-right mark, is told in every language (see whatsapp.py).
"""

import re


def _any_of(*phrases: str) -> str:
    return "|".join(re.escape(phrase) for phrase in phrases)


# "image omitted", and the same with other nouns, as iPhones write it.
OMITTED = re.compile(
    r"(?:image|video|audio|sticker|gif|document|contact card|video note) omitted"
    r"|(?:bild|video|audio|sticker|gif|dokument|kontaktkarte|videonachricht) (?:weggelassen|ausgelassen)"
    r"|(?:imagen|video|v[íi]deo|audio|sticker|gif|documento|tarjeta de contacto|nota de video) omitid[oa]"
    r"|(?:imagem|v[íi]deo|[áa]udio|figurinha|gif|documento|cart[ãa]o do contato) (?:ocultad|omitid|n[ãa]o revelad)[oa]"
    r"|(?:image|vid[ée]o|audio|sticker|gif|document|fiche contact) (?:absente?|omise?|retir[ée]e?)"
    r"|(?:immagine|video|audio|sticker|adesivo|gif|documento|scheda contatto) (?:omess[oa]|esclus[oa]|non inclus[oa])"
    r"|(?:afbeelding|video|audio|sticker|gif|document|contactkaart) weggelaten"
    r"|(?:изображение|видео|аудиофайл|стикер|gif|документ|карточка контакта) (?:отсутствует|пропущен[оа]?|не добавлен)"
    r"|(?:görüntü|video|ses|çıkartma|gif|belge|kişi kartı) dahil edilmedi"
    r"|(?:pominięto) (?:obraz|wideo|audio|naklejkę|gif|dokument|wizytówkę)"
    r"|(?:gambar|video|audio|stiker|gif|dokumen|kartu kontak) tidak disertakan"
    r"|(?:obrázek|video|zvuk|nálepka|gif|dokument|vizitka) vynechána?"
    r"|(?:bild|video|ljud|klistermärke|gif|dokument|kontaktkort) utelämnat?s?"
    r"|(?:画像|動画|音声|スタンプ|gif|ドキュメント)(?:は含まれていません|を省略)"
    r"|(?:图像|图片|圖片|视频|影片|音频|音訊|贴图|貼圖|gif|文件)(?:已忽略|已略過|省略)",
    re.IGNORECASE,
)

# "(file attached)" after a file's name, as Android writes it.
ATTACHED = re.compile(
    r"(?:IMG|VID|PTT|AUD|STK|DOC|PHOTO|VIDEO|AUDIO)-\d{8}-WA\d+\.\w{2,5} \([^()\n]{3,40}\)"
    r"|[^\n<>:]{1,200}\.\w{2,5} \((?:"
    + _any_of(
        "file attached",
        "Datei angehängt",
        "archivo adjunto",
        "fichier joint",
        "file allegato",
        "arquivo anexado",
        "ficheiro anexado",
        "bestand bijgevoegd",
        "файл добавлен",
        "файл прикріплено",
        "dosya ekli",
        "plik dołączony",
        "file terlampir",
        "soubor byl přiložen",
        "bifogad fil",
        "添付ファイル",
        "文件附件",
        "檔案附件",
        "파일 첨부됨",
        "الملف مرفق",
        "קובץ מצורף",
        "फ़ाइल संलग्न है",
    )
    + r")\)",
    re.IGNORECASE,
)

DELETED = re.compile(
    "(?:"
    + _any_of(
        "This message was deleted",
        "You deleted this message",
        "This message was deleted by admin",
        "Diese Nachricht wurde gelöscht",
        "Du hast diese Nachricht gelöscht",
        "Se eliminó este mensaje",
        "Este mensaje fue eliminado",
        "Eliminaste este mensaje",
        "Mensagem apagada",
        "Esta mensagem foi apagada",
        "Essa mensagem foi apagada",
        "Você apagou esta mensagem",
        "Você apagou essa mensagem",
        "Esta mensagem foi eliminada",
        "Eliminou esta mensagem",
        "Ce message a été supprimé",
        "Vous avez supprimé ce message",
        "Questo messaggio è stato eliminato",
        "Hai eliminato questo messaggio",
        "Dit bericht is verwijderd",
        "Je hebt dit bericht verwijderd",
        "Это сообщение было удалено",
        "Данное сообщение удалено",
        "Вы удалили данное сообщение",
        "Це повідомлення видалено",
        "Ви видалили це повідомлення",
        "Bu mesaj silindi",
        "Bu mesajı sildiniz",
        "Ta wiadomość została usunięta",
        "Usunięto tę wiadomość",
        "Pesan ini telah dihapus",
        "Pesan ini dihapus",
        "Anda telah menghapus pesan ini",
        "Anda menghapus pesan ini",
        "Tato zpráva byla odstraněna",
        "Tuto zprávu jste odstranili",
        "Det här meddelandet raderades",
        "Du raderade det här meddelandet",
        "このメッセージは削除されました",
        "このメッセージを削除しました",
        "此消息已删除",
        "此訊息已刪除",
        "您已删除此消息",
        "你已刪除此訊息",
        "삭제된 메시지입니다",
        "تم حذف هذه الرسالة",
        "حذفتَ هذه الرسالة",
        "הודעה זו נמחקה",
        "מחקת הודעה זו",
        "यह संदेश हटाया गया",
        "आपने यह संदेश हटा दिया है",
    )
    + r")[.。]?",
    re.IGNORECASE,
)

# What stands behind a message that was edited later.
EDITED = re.compile(
    r"\s*\u200e?<(?:"
    + _any_of(
        "This message was edited",
        "Diese Nachricht wurde bearbeitet",
        "Se editó este mensaje",
        "Mensagem editada",
        "Essa mensagem foi editada",
        "Esta mensagem foi editada",
        "Ce message a été modifié",
        "Questo messaggio è stato modificato",
        "Messaggio modificato",
        "Dit bericht is bewerkt",
        "Это сообщение было изменено",
        "Данное сообщение изменено",
        "Це повідомлення було відредаговано",
        "Bu mesaj düzenlendi",
        "Ta wiadomość została edytowana",
        "Pesan ini diedit",
        "Tato zpráva byla upravena",
        "Det här meddelandet redigerades",
        "このメッセージは編集されました",
        "此消息已编辑",
        "此訊息已編輯",
        "수정된 메시지입니다",
        "تم تعديل هذه الرسالة",
        "הודעה זו נערכה",
        "यह संदेश एडिट किया गया",
    )
    + r")[.。]?>\Z",
    re.IGNORECASE,
)
