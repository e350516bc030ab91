//! Texts of the pages for a change of the e-mail address.

pub struct EmailMessages {
    /// On the profile site.
    pub menu: &'static str,
    pub lead: &'static str,
    pub yours: &'static str,
    pub new: &'static str,
    pub ask: &'static str,
    pub no_longer_read: &'static str,
    pub no_mail: &'static str,
    pub prove: &'static str,
    pub waiting: &'static str,
    pub agreed: &'static str,
    pub not_answered: &'static str,
    /// Followed by a time.
    pub answer_until: &'static str,
    pub withdraw: &'static str,
    pub withdrawn: &'static str,
    pub not_an_address: &'static str,
    pub known: &'static str,
    pub wait: fn(u64) -> String,
    pub too_many_today: &'static str,

    /// On the page of the new address.
    pub confirm_title: &'static str,
    /// Arguments: login, address.
    pub confirm: fn(&str, &str) -> String,
    pub confirm_yes: &'static str,
    pub confirm_no: &'static str,
    /// On the page of the old address.
    pub replace_title: &'static str,
    /// Arguments: login, new address.
    pub replace: fn(&str, &str) -> String,
    pub replace_yes: &'static str,
    pub replace_no: &'static str,
    pub nothing_yet: &'static str,

    pub changed_title: &'static str,
    /// Arguments: instance, address.
    pub changed: fn(&str, &str) -> String,
    pub waiting_title: &'static str,
    pub other_asked: &'static str,
    pub declined_title: &'static str,
    pub declined: &'static str,
    pub not_you: &'static str,
    pub choose_password: &'static str,
}

pub(super) const ENGLISH: EmailMessages = EmailMessages {
    menu: "E-mail address",
    lead: "We send e-mail about your account to this address, including password reset links. To change it, confirm the change from the new address and, if you have one, from the current address.",
    yours: "Your address",
    new: "New address",
    ask: "Send confirmation e-mails",
    no_longer_read: "No access to your current address? Ask an administrator to change it.",
    no_mail: "This system does not send e-mail. Ask an administrator to change your address.",
    prove: "Sign in again before you change your address, because it can be used to reset your password.",
    waiting: "Waiting for confirmation",
    agreed: "confirmed",
    not_answered: "not confirmed yet",
    answer_until: "The links in the e-mails are valid until",
    withdraw: "Cancel change",
    withdrawn: "Cancelled. Your address was not changed.",
    not_an_address: "This is not a valid e-mail address.",
    known: "This is already your address.",
    wait: |seconds| match seconds {
        1 => "Too many requests. Try again in 1 second.".to_owned(),
        _ => format!("Too many requests. Try again in {seconds} seconds."),
    },
    too_many_today: "You have reached the limit of ten confirmation e-mails per day. Nothing was sent. Try again after midnight (UTC).",
    confirm_title: "Confirm your address",
    confirm: |login, address| format!("Use {address} as the e-mail address of the login {login}?"),
    confirm_yes: "Confirm address",
    confirm_no: "This is not my login",
    replace_title: "Change your address?",
    replace: |login, address| {
        format!("Someone signed in as {login} asked to change the e-mail address of this account to {address}.")
    },
    replace_yes: "Change address",
    replace_no: "Keep current address",
    nothing_yet: "Nothing changes until you decide.",
    changed_title: "Address changed",
    changed: |instance, address| format!("{instance} now sends e-mail to {address}. You can close this page."),
    waiting_title: "Thank you",
    other_asked: "The other address must confirm too. We have sent it an e-mail.",
    declined_title: "Change declined",
    declined: "The address was not changed, and both links are no longer valid.",
    not_you: "If you did not ask for this, someone else is signed in to your account. Change your password to sign them out.",
    choose_password: "Change password",
};

pub(super) const GERMAN: EmailMessages = EmailMessages {
    menu: "E-Mail-Adresse",
    lead: "An diese Adresse senden wir E-Mails zu Ihrem Konto, auch Links zum Zurücksetzen des Passworts. Bestätigen Sie eine Änderung über die neue Adresse und, falls vorhanden, über die aktuelle.",
    yours: "Ihre Adresse",
    new: "Neue Adresse",
    ask: "Bestätigungs-E-Mails senden",
    no_longer_read: "Kein Zugriff auf Ihre aktuelle Adresse? Bitten Sie einen Administrator, sie zu ändern.",
    no_mail: "Dieses System versendet keine E-Mails. Bitten Sie einen Administrator, Ihre Adresse zu ändern.",
    prove: "Melden Sie sich erneut an, bevor Sie Ihre Adresse ändern: Mit ihr lässt sich Ihr Passwort zurücksetzen.",
    waiting: "Bestätigung ausstehend",
    agreed: "bestätigt",
    not_answered: "noch nicht bestätigt",
    answer_until: "Die Links in den E-Mails gelten bis",
    withdraw: "Änderung abbrechen",
    withdrawn: "Abgebrochen. Ihre Adresse wurde nicht geändert.",
    not_an_address: "Das ist keine gültige E-Mail-Adresse.",
    known: "Das ist bereits Ihre Adresse.",
    wait: |seconds| {
        let unit = if seconds == 1 { "Sekunde" } else { "Sekunden" };
        format!("Zu viele Anfragen. Versuchen Sie es in {seconds} {unit} noch einmal.")
    },
    too_many_today: "Das Limit von zehn Bestätigungs-E-Mails pro Tag ist erreicht. Es wurde nichts gesendet. Versuchen Sie es nach Mitternacht (UTC) noch einmal.",
    confirm_title: "Bestätigen Sie Ihre Adresse",
    confirm: |login, address| format!("{address} als E-Mail-Adresse des Anmeldenamens {login} verwenden?"),
    confirm_yes: "Adresse bestätigen",
    confirm_no: "Das ist nicht mein Anmeldename",
    replace_title: "Ihre Adresse ändern?",
    replace: |login, address| {
        format!("Jemand, der als {login} angemeldet ist, möchte die E-Mail-Adresse dieses Kontos in {address} ändern.")
    },
    replace_yes: "Adresse ändern",
    replace_no: "Aktuelle Adresse behalten",
    nothing_yet: "Bis Sie sich entscheiden, ändert sich nichts.",
    changed_title: "Adresse geändert",
    changed: |instance, address| {
        format!("{instance} sendet E-Mails jetzt an {address}. Sie können diese Seite schließen.")
    },
    waiting_title: "Danke",
    other_asked: "Auch die andere Adresse muss bestätigen. Wir haben eine E-Mail dorthin gesendet.",
    declined_title: "Änderung abgelehnt",
    declined: "Die Adresse wurde nicht geändert, und beide Links gelten nicht mehr.",
    not_you: "Wenn Sie das nicht angefordert haben, ist jemand anders in Ihrem Konto angemeldet. Ändern Sie Ihr Passwort, um alle anderen abzumelden.",
    choose_password: "Passwort ändern",
};

pub(super) const BULGARIAN: EmailMessages = EmailMessages {
    menu: "Имейл адрес",
    lead: "На този адрес изпращаме имейли за профила ви, включително връзки за смяна на паролата. Потвърдете промяната от новия адрес, а ако имате текущ – и от него.",
    yours: "Вашият адрес",
    new: "Нов адрес",
    ask: "Изпрати имейли за потвърждение",
    no_longer_read: "Нямате достъп до текущия адрес? Помолете администратор да го смени.",
    no_mail: "Тази система не изпраща имейли. Помолете администратор да смени адреса ви.",
    prove: "Влезте отново, преди да смените адреса: с него може да се смени паролата ви.",
    waiting: "Очаква се потвърждение",
    agreed: "потвърден",
    not_answered: "още не е потвърден",
    answer_until: "Връзките в имейлите важат до",
    withdraw: "Отмени промяната",
    withdrawn: "Отменено. Адресът ви не е променен.",
    not_an_address: "Това не е валиден имейл адрес.",
    known: "Това вече е вашият адрес.",
    wait: |seconds| {
        let unit = if seconds == 1 { "секунда" } else { "секунди" };
        format!("Твърде много заявки. Опитайте отново след {seconds} {unit}.")
    },
    too_many_today: "Достигнахте лимита от десет имейла за потвърждение на ден. Нищо не е изпратено. Опитайте отново след полунощ (UTC).",
    confirm_title: "Потвърдете адреса си",
    confirm: |login, address| format!("Да се използва ли {address} като имейл адрес на {login}?"),
    confirm_yes: "Потвърди адреса",
    confirm_no: "Това не е моето потребителско име",
    replace_title: "Да се смени ли адресът ви?",
    replace: |login, address| {
        format!("Някой, който е влязъл като {login}, иска да смени имейл адреса на профила с {address}.")
    },
    replace_yes: "Смени адреса",
    replace_no: "Запази текущия адрес",
    nothing_yet: "Докато не решите, нищо не се променя.",
    changed_title: "Адресът е сменен",
    changed: |instance, address| {
        format!("{instance} вече изпраща имейли на {address}. Можете да затворите страницата.")
    },
    waiting_title: "Благодарим ви",
    other_asked: "И другият адрес трябва да потвърди. Изпратихме му имейл.",
    declined_title: "Промяната е отказана",
    declined: "Адресът не е променен, а двете връзки вече не важат.",
    not_you: "Ако не сте го поискали вие, някой друг е влязъл в профила ви. Сменете паролата си, за да излязат всички останали.",
    choose_password: "Сменете паролата",
};
