//! What the pages say.

use http::StatusCode;

/// A language of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    German,
}

/// What went wrong, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    BadRedirect,
    NoSuchProvider,
    Over,
    OtherBrowser,
    Cancelled,
    Unreachable,
    Refused,
    Closed,
    Locked,
    Suspended,
    TooMany,
    NameTaken,
    NameInvalid,
    NameReserved,
    WrongPassword,
    PasswordTooShort,
    PasswordTooLong,
    WrongToken,
    UnknownApp,
    AppReturn,
    UnknownCode,
    OtherAccount,
    NotAskedAgain,
    NoSuchDevice,
    NameTooLong,
    NotAgreed,
    Internal,
}

impl Problem {
    /// The status of a page that shows it with its form.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::WrongPassword | Self::Locked | Self::Suspended => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// All sentences of one language. `{}` stands for a name.
#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) failed: &'static str,
    pub(crate) begin_again: &'static str,
    pub(crate) choose: &'static str,
    pub(crate) log_in_with: &'static str,
    pub(crate) welcome: &'static str,
    pub(crate) known_as: &'static str,
    pub(crate) choose_name: &'static str,
    pub(crate) user_name: &'static str,
    pub(crate) name_hint: &'static str,
    pub(crate) create: &'static str,
    pub(crate) go_on_question: &'static str,
    pub(crate) you_are: &'static str,
    pub(crate) go_to_site: &'static str,
    pub(crate) go_to_app: &'static str,
    pub(crate) only_if_you_began: &'static str,
    pub(crate) go_on: &'static str,
    pub(crate) logged_in: &'static str,
    pub(crate) log_out: &'static str,
    pub(crate) log_out_why: &'static str,
    pub(crate) log_out_of: &'static str,
    pub(crate) no_log_out: &'static str,
    pub(crate) logged_out: &'static str,
    pub(crate) logged_out_text: &'static str,
    problems: fn(Problem) -> &'static str,
}

impl Words {
    pub(crate) fn problem(&self, problem: Problem) -> &'static str {
        (self.problems)(problem)
    }
}

impl Language {
    /// The first of our languages in the order of an `Accept-Language` header; English where it names none.
    pub(crate) fn preferred(header: &str) -> Self {
        let mut best = (0.0, Self::English);
        for part in header.split(',').take(32) {
            let (tag, rest) = part.split_once(';').unwrap_or((part, ""));
            let weight =
                rest.trim().strip_prefix("q=").map_or(1.0, |weight| weight.trim().parse::<f32>().unwrap_or(0.0));
            let main = tag.trim().split('-').next().unwrap_or_default();
            let language = match main {
                _ if main.eq_ignore_ascii_case("de") => Self::German,
                _ if main.eq_ignore_ascii_case("en") => Self::English,
                _ => continue,
            };
            if weight > best.0 {
                best = (weight, language);
            }
        }
        best.1
    }

    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    pub(crate) fn words(self) -> &'static Words {
        match self {
            Self::English => &ENGLISH,
            Self::German => &GERMAN,
        }
    }
}

static ENGLISH: Words = Words {
    failed: "You are not logged in",
    begin_again: "Go back to your app and begin again.",
    choose: "How do you want to log in?",
    log_in_with: "Log in with {}",
    welcome: "Welcome",
    known_as: "You are logged in with {}",
    choose_name: "You have no account here yet. Choose the name that others will know you by. It cannot be changed later.",
    user_name: "User name",
    name_hint: "Small letters a to z, digits and . _ = - / + are possible. Behind it stands :{}",
    create: "Create account",
    go_on_question: "Go on?",
    you_are: "You are logged in as {}.",
    go_to_site: "This site gets access to your account:",
    go_to_app: "The app that opens addresses of this kind gets access to your account:",
    only_if_you_began: "Go on only if you know it and began to log in there yourself.",
    go_on: "Go on",
    logged_in: "You are logged in",
    log_out: "Log out",
    log_out_why: "Your browser may still be logged in at {}. Whoever uses it next could log in as you.",
    log_out_of: "Log out of {}",
    no_log_out: "{} has no page to log out at. Close your browser to be sure.",
    logged_out: "You are logged out",
    logged_out_text: "You can close this page.",
    problems: english,
};

fn english(problem: Problem) -> &'static str {
    match problem {
        Problem::BadRedirect => "The app did not say properly where to go after the log-in.",
        Problem::NoSuchProvider => "There is no such way to log in here.",
        Problem::Over => "This log-in is over, or it took too long.",
        Problem::OtherBrowser => "This log-in was begun in another browser, or your browser does not keep cookies.",
        Problem::Cancelled => "The log-in was cancelled.",
        Problem::Unreachable => "The service that you log in with cannot be used at the moment. Try again later.",
        Problem::Refused => "What the service that you log in with answered is not right, so it was not believed.",
        Problem::Closed => "This account was closed.",
        Problem::Locked => "This account is locked. Ask whoever runs this server.",
        Problem::Suspended => "This account is suspended: its name cannot be changed. Ask whoever runs this server.",
        Problem::TooMany => "Too many tries. Wait a moment.",
        Problem::NameTaken => "This name is taken. Choose another.",
        Problem::NameInvalid => {
            "This name is not possible. Use small letters a to z, digits and . _ = - / + only, and not too many."
        }
        Problem::NameReserved => "This name is reserved. Choose another.",
        Problem::WrongPassword => "The user name or the password is wrong.",
        Problem::PasswordTooShort => "The password is too short.",
        Problem::PasswordTooLong => "The password is too long.",
        Problem::WrongToken => "This registration token is not valid, or it is missing.",
        Problem::UnknownApp => "The app is not known here, or not any more.",
        Problem::AppReturn => "The app wants to be answered at a place that is not its own. Nobody was sent there.",
        Problem::OtherAccount => "You logged in with another account. Nothing was confirmed.",
        Problem::NotAskedAgain => {
            "You were to log in once more, and the provider did not ask you to. Log out there, and try again."
        }
        Problem::NoSuchDevice => "You are not logged in with this device, or not any more.",
        Problem::NameTooLong => "This name is too long.",
        Problem::NotAgreed => "Tick the box to say that you are sure.",
        Problem::UnknownCode => "No device shows this code, or it took too long.",
        Problem::Internal => "Something went wrong on this server. Try again later.",
    }
}

static GERMAN: Words = Words {
    failed: "Du bist nicht angemeldet",
    begin_again: "Geh zurück zu deiner App und fang noch einmal an.",
    choose: "Wie möchtest du dich anmelden?",
    log_in_with: "Mit {} anmelden",
    welcome: "Willkommen",
    known_as: "Du bist mit {} angemeldet",
    choose_name: "Du hast hier noch kein Konto. Wähle den Namen, unter dem dich andere kennen werden. Er lässt sich später nicht ändern.",
    user_name: "Benutzername",
    name_hint: "Möglich sind Kleinbuchstaben a bis z, Ziffern und . _ = - / +. Dahinter steht :{}",
    create: "Konto anlegen",
    go_on_question: "Weiter?",
    you_are: "Du bist als {} angemeldet.",
    go_to_site: "Diese Seite bekommt Zugriff auf dein Konto:",
    go_to_app: "Die App, die Adressen dieser Art öffnet, bekommt Zugriff auf dein Konto:",
    only_if_you_began: "Geh nur weiter, wenn du sie kennst und dich selbst dort anmelden wolltest.",
    go_on: "Weiter",
    logged_in: "Du bist angemeldet",
    log_out: "Abmelden",
    log_out_why: "Dein Browser ist vielleicht noch bei {} angemeldet. Wer ihn nach dir benutzt, könnte sich als du anmelden.",
    log_out_of: "Bei {} abmelden",
    no_log_out: "{} hat keine Seite zum Abmelden. Schließ den Browser, um sicher zu sein.",
    logged_out: "Du bist abgemeldet",
    logged_out_text: "Du kannst diese Seite schließen.",
    problems: german,
};

fn german(problem: Problem) -> &'static str {
    match problem {
        Problem::BadRedirect => "Die App hat nicht richtig gesagt, wohin es nach der Anmeldung gehen soll.",
        Problem::NoSuchProvider => "Diese Art der Anmeldung gibt es hier nicht.",
        Problem::Over => "Diese Anmeldung ist vorbei oder hat zu lange gedauert.",
        Problem::OtherBrowser => {
            "Diese Anmeldung wurde in einem anderen Browser begonnen, oder dein Browser behält keine Cookies."
        }
        Problem::Cancelled => "Die Anmeldung wurde abgebrochen.",
        Problem::Unreachable => {
            "Der Dienst, mit dem du dich anmeldest, ist gerade nicht zu gebrauchen. Versuch es später noch einmal."
        }
        Problem::Refused => {
            "Die Antwort des Dienstes, mit dem du dich anmeldest, stimmt nicht. Ihr wurde nicht geglaubt."
        }
        Problem::Closed => "Dieses Konto wurde geschlossen.",
        Problem::Locked => "Dieses Konto ist gesperrt. Frag die Betreiber dieses Servers.",
        Problem::Suspended => {
            "Dieses Konto ist eingeschränkt: Sein Name lässt sich nicht ändern. Frag die Betreiber dieses Servers."
        }
        Problem::TooMany => "Zu viele Versuche. Warte einen Moment.",
        Problem::NameTaken => "Dieser Name ist vergeben. Wähle einen anderen.",
        Problem::NameInvalid => {
            "Dieser Name geht nicht. Möglich sind nur Kleinbuchstaben a bis z, Ziffern und . _ = - / +, und nicht zu viele."
        }
        Problem::NameReserved => "Dieser Name ist reserviert. Wähle einen anderen.",
        Problem::WrongPassword => "Der Benutzername oder das Passwort ist falsch.",
        Problem::PasswordTooShort => "Das Passwort ist zu kurz.",
        Problem::PasswordTooLong => "Das Passwort ist zu lang.",
        Problem::WrongToken => "Dieses Registrierungstoken gilt nicht, oder es fehlt.",
        Problem::UnknownApp => "Die App ist hier nicht bekannt, oder nicht mehr.",
        Problem::AppReturn => {
            "Die App möchte an einem Ort Antwort bekommen, der nicht ihr eigener ist. Dorthin wurde niemand geschickt."
        }
        Problem::OtherAccount => "Du hast dich mit einem anderen Konto angemeldet. Nichts wurde bestätigt.",
        Problem::NotAskedAgain => {
            "Du solltest dich noch einmal anmelden, und der Anbieter hat dich nicht gefragt. Melde dich dort ab, und versuche es noch einmal."
        }
        Problem::NoSuchDevice => "Mit diesem Gerät bist du nicht angemeldet, oder nicht mehr.",
        Problem::NameTooLong => "Dieser Name ist zu lang.",
        Problem::NotAgreed => "Kreuz das Kästchen an, wenn du sicher bist.",
        Problem::UnknownCode => "Kein Gerät zeigt diesen Code, oder es hat zu lange gedauert.",
        Problem::Internal => "Auf diesem Server ist etwas schiefgegangen. Versuch es später noch einmal.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_one_that_the_browser_prefers_of_ours() {
        for (header, language) in [
            ("", Language::English),
            ("de", Language::German),
            ("de-AT,en;q=0.5", Language::German),
            ("en;q=0.5, DE;q=0.9", Language::German),
            ("fr, de;q=0.3, en;q=0.7", Language::English),
            ("fr", Language::English),
            ("de;q=0", Language::English),
        ] {
            assert_eq!(Language::preferred(header), language, "{header}");
        }
    }
}
