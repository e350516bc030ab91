//! What the pages about a change of the e-mail address say.

pub struct EmailWords {
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
    /// Before a time.
    pub answer_until: &'static str,
    pub withdraw: &'static str,
    pub withdrawn: &'static str,
    pub not_an_address: &'static str,
    pub known: &'static str,
    pub wait: fn(u64) -> String,
    pub too_many_today: &'static str,

    /// Where the new address answers.
    pub confirm_title: &'static str,
    /// Of a login and an address.
    pub confirm: fn(&str, &str) -> String,
    pub confirm_yes: &'static str,
    pub confirm_no: &'static str,
    /// Where the old address answers.
    pub replace_title: &'static str,
    /// Of a login and the new address.
    pub replace: fn(&str, &str) -> String,
    pub replace_yes: &'static str,
    pub replace_no: &'static str,
    pub nothing_yet: &'static str,

    pub changed_title: &'static str,
    /// Of an instance and an address.
    pub changed: fn(&str, &str) -> String,
    pub waiting_title: &'static str,
    pub other_asked: &'static str,
    pub declined_title: &'static str,
    pub declined: &'static str,
    pub not_you: &'static str,
    pub choose_password: &'static str,
}

pub(super) const ENGLISH: EmailWords = EmailWords {
    menu: "E-mail address",
    lead: "Letters about your account go there, and whoever reads them can choose a new password for you. So the new address is asked, and so is the one until now if there is one. The change happens when all who are asked have agreed.",
    yours: "Your address",
    new: "New address",
    ask: "Send the letters",
    no_longer_read: "You no longer read your present address? Then an administrator changes it.",
    no_mail: "This system sends no mail, so nobody can be asked. An administrator changes your address.",
    prove: "Your address can open your account, so please sign in once more first.",
    waiting: "Waiting for answers",
    agreed: "has agreed",
    not_answered: "has not answered yet",
    answer_until: "The links in the letters are good until",
    withdraw: "Withdraw",
    withdrawn: "Withdrawn. Your address stays as it is.",
    not_an_address: "This is no address that mail can go to. Check it and try again.",
    known: "This is your address already.",
    wait: |seconds| match seconds {
        1 => "You have asked several times. Please wait 1 second and try again.".to_owned(),
        _ => format!("You have asked several times. Please wait {seconds} seconds and try again."),
    },
    too_many_today: "Ten letters a day go to new addresses, and today’s are used up. Nothing was sent. Try again after midnight (UTC).",
    confirm_title: "Confirm your address",
    confirm: |login, address| format!("Should the login {login} be known by {address} from now on?"),
    confirm_yes: "Confirm this address",
    confirm_no: "No, this is not my login",
    replace_title: "Change your address?",
    replace: |login, address| {
        format!(
            "Somebody who is signed in as {login} wants letters to go to {address} instead of here. Should that be?"
        )
    },
    replace_yes: "Yes, change the address",
    replace_no: "No, keep this address",
    nothing_yet: "Until you answer, nothing changes.",
    changed_title: "The address is changed",
    changed: |instance, address| format!("From now on {instance} writes to {address}. You can close this page."),
    waiting_title: "Thank you",
    other_asked: "The other address has to agree too. A letter is on its way there.",
    declined_title: "Nothing changes",
    declined: "The address stays as it was, and both links are good no longer.",
    not_you: "It was not you who asked? Then somebody is signed in as you. Choose another password: it signs out everybody else.",
    choose_password: "Choose another password",
};

pub(super) const GERMAN: EmailWords = EmailWords {
    menu: "E-Mail-Adresse",
    lead: "Dorthin gehen Briefe zu Ihrem Konto, und wer sie liest, kann ein neues Passwort für Sie wählen. Deshalb wird die neue Adresse gefragt, und auch die bisherige, wenn es eine gibt. Geändert wird, wenn alle Gefragten zugestimmt haben.",
    yours: "Ihre Adresse",
    new: "Neue Adresse",
    ask: "Briefe verschicken",
    no_longer_read: "Sie lesen die bisherige Adresse nicht mehr? Dann ändert sie ein Administrator.",
    no_mail: "Dieses System verschickt keine E-Mails, also kann niemand gefragt werden. Ihre Adresse ändert ein Administrator.",
    prove: "Die Adresse kann Ihr Konto öffnen. Melden Sie sich deshalb bitte erst noch einmal an.",
    waiting: "Warten auf Antworten",
    agreed: "hat zugestimmt",
    not_answered: "hat noch nicht geantwortet",
    answer_until: "Die Links in den Briefen gelten bis",
    withdraw: "Zurückziehen",
    withdrawn: "Zurückgezogen. Ihre Adresse bleibt, wie sie ist.",
    not_an_address: "An diese Adresse kann keine E-Mail gehen. Prüfen Sie sie und versuchen Sie es noch einmal.",
    known: "Das ist schon Ihre Adresse.",
    wait: |seconds| {
        let unit = if seconds == 1 { "Sekunde" } else { "Sekunden" };
        format!("Sie haben mehrmals gefragt. Bitte warten Sie {seconds} {unit} und versuchen Sie es noch einmal.")
    },
    too_many_today: "An neue Adressen gehen höchstens zehn Briefe am Tag, und die von heute sind aufgebraucht. Es wurde nichts verschickt. Versuchen Sie es nach Mitternacht (UTC) noch einmal.",
    confirm_title: "Bestätigen Sie Ihre Adresse",
    confirm: |login, address| format!("Soll zum Anmeldenamen {login} von nun an {address} gehören?"),
    confirm_yes: "Diese Adresse bestätigen",
    confirm_no: "Nein, das ist nicht mein Anmeldename",
    replace_title: "Ihre Adresse ändern?",
    replace: |login, address| {
        format!(
            "Jemand, der als {login} angemeldet ist, möchte Briefe an {address} statt hierher bekommen. Soll das so sein?"
        )
    },
    replace_yes: "Ja, die Adresse ändern",
    replace_no: "Nein, diese Adresse behalten",
    nothing_yet: "Bis Sie antworten, ändert sich nichts.",
    changed_title: "Die Adresse ist geändert",
    changed: |instance, address| {
        format!("Von nun an schreibt {instance} an {address}. Sie können diese Seite schließen.")
    },
    waiting_title: "Danke",
    other_asked: "Auch die andere Adresse muss zustimmen. Ein Brief ist dorthin unterwegs.",
    declined_title: "Nichts ändert sich",
    declined: "Die Adresse bleibt, wie sie war, und beide Links gelten nicht mehr.",
    not_you: "Sie haben nicht darum gebeten? Dann ist jemand als Sie angemeldet. Wählen Sie ein anderes Passwort: Das meldet alle anderen ab.",
    choose_password: "Ein anderes Passwort wählen",
};

pub(super) const BULGARIAN: EmailWords = EmailWords {
    menu: "Имейл адрес",
    lead: "Там отиват писмата за вашия профил, а който ги чете, може да избере нова парола вместо вас. Затова питаме новия адрес, а ако има досегашен – и него. Промяната става, когато всички попитани се съгласят.",
    yours: "Вашият адрес",
    new: "Нов адрес",
    ask: "Изпрати писмата",
    no_longer_read: "Вече не четете досегашния адрес? Тогава администратор ще го смени.",
    no_mail: "Тази система не изпраща писма и няма как да попита никого. Адреса ви сменя администратор.",
    prove: "Адресът може да отвори профила ви, затова първо влезте още веднъж.",
    waiting: "Чакаме отговори",
    agreed: "е съгласен",
    not_answered: "още не е отговорил",
    answer_until: "Връзките в писмата важат до",
    withdraw: "Оттегли",
    withdrawn: "Оттеглено. Адресът ви остава същият.",
    not_an_address: "На такъв адрес не може да се изпрати писмо. Проверете го и опитайте отново.",
    known: "Това вече е вашият адрес.",
    wait: |seconds| {
        let unit = if seconds == 1 { "секунда" } else { "секунди" };
        format!("Вече попитахте няколко пъти. Изчакайте {seconds} {unit} и опитайте отново.")
    },
    too_many_today: "На нови адреси изпращаме най-много десет писма на ден и днешните са изчерпани. Нищо не е изпратено. Опитайте отново след полунощ (UTC).",
    confirm_title: "Потвърдете адреса си",
    confirm: |login, address| format!("Да бъде ли {address} отсега нататък адресът на {login}?"),
    confirm_yes: "Потвърди този адрес",
    confirm_no: "Не, това не е моето потребителско име",
    replace_title: "Да се смени ли адресът ви?",
    replace: |login, address| {
        format!("Някой, който е влязъл като {login}, иска писмата да отиват на {address} вместо тук. Да бъде ли така?")
    },
    replace_yes: "Да, смени адреса",
    replace_no: "Не, запази този адрес",
    nothing_yet: "Докато не отговорите, нищо не се променя.",
    changed_title: "Адресът е сменен",
    changed: |instance, address| {
        format!("Отсега нататък {instance} пише на {address}. Можете да затворите страницата.")
    },
    waiting_title: "Благодарим ви",
    other_asked: "И другият адрес трябва да се съгласи. Писмото вече пътува натам.",
    declined_title: "Нищо не се променя",
    declined: "Адресът остава същият, а двете връзки вече не важат.",
    not_you: "Не сте го поискали вие? Значи някой е влязъл от ваше име. Изберете друга парола: тя ще изведе всички останали.",
    choose_password: "Изберете друга парола",
};
