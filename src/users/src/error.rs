use ruma::push::InsertPushRuleError;
use store::{CommitError, InternError, StoreError};

/// Why something about a user could not be done.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The localpart is taken, perhaps in another case (`M_USER_IN_USE`).
    #[error("the user name is taken")]
    UserInUse,
    /// The localpart cannot be used here (`M_INVALID_USERNAME`).
    #[error("the user name cannot be used: {0}")]
    InvalidLocalpart(&'static str),
    /// No such account.
    #[error("there is no such account")]
    UserNotFound,
    /// No such device of this user.
    #[error("there is no such device")]
    DeviceNotFound,
    /// An id that a client chose is empty, too long or ill-formed (`M_INVALID_PARAM`).
    #[error("{0} is empty, too long or ill-formed")]
    InvalidId(&'static str),
    /// No such token: never issued, revoked, used up, or of another kind (`M_UNKNOWN_TOKEN`).
    #[error("the token is not known")]
    UnknownToken,
    /// The token's time is over, its device lives on (`M_UNKNOWN_TOKEN` with `soft_logout`).
    #[error("the token has expired")]
    ExpiredToken,
    /// The key does not follow the grammar (`M_INVALID_PARAM`).
    #[error("the profile key is not valid")]
    InvalidProfileKey,
    /// The key is longer than 255 bytes (`M_KEY_TOO_LARGE`).
    #[error("the profile key is longer than 255 bytes")]
    ProfileKeyTooLarge,
    /// The whole profile would be larger than 64 KiB (`M_PROFILE_TOO_LARGE`).
    #[error("the profile would be larger than 64 KiB")]
    ProfileTooLarge,
    /// The value is not of the field's kind (`M_INVALID_PARAM`).
    #[error("the value of the profile field is not valid: {0}")]
    InvalidProfileValue(&'static str),
    /// Not a JSON object (`M_BAD_JSON`).
    #[error("{0} must be a JSON object")]
    NotAnObject(&'static str),
    /// Larger than this server keeps (`M_TOO_LARGE`).
    #[error("{what} is larger than {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit, in bytes or in items.
        limit: usize,
    },
    /// The filter does not exist (`M_NOT_FOUND`).
    #[error("there is no such filter")]
    FilterNotFound,
    /// The push rule does not exist (`M_NOT_FOUND`).
    #[error("there is no such push rule")]
    RuleNotFound,
    /// Server-default rules can be switched off, not removed (`M_INVALID_PARAM`).
    #[error("a server-default rule cannot be removed")]
    ServerDefaultRule,
    /// The rule or its place is not acceptable (`M_INVALID_PARAM`, unknown `before`/`after`: `M_NOT_FOUND`).
    #[error(transparent)]
    InsertRule(#[from] InsertPushRuleError),
    /// A key is not of the form that keys have (`M_BAD_JSON`).
    #[error("{0}")]
    BadKey(&'static str),
    /// A key names another user or device than those it is uploaded for (`M_INVALID_PARAM`).
    #[error("the key is of another user or device")]
    OthersKey,
    /// There is another one-time key with this id (`M_INVALID_PARAM`).
    #[error("there is another one-time key with the id {0}")]
    KeyExists(String),
    /// A signature is missing or wrong (`M_INVALID_SIGNATURE`).
    #[error("the signature is missing or wrong")]
    InvalidSignature,
    /// A key needs a master key and there is none (`M_MISSING_PARAM`).
    #[error("there is no master key")]
    NoMasterKey,
    /// The id of a cross-signing key is that of a device (`M_FORBIDDEN`).
    #[error("a device has the key's id")]
    KeyIdInUse,
    /// The key backup, or the key in it, does not exist (`M_NOT_FOUND`).
    #[error("there is no such {0}")]
    NoBackup(&'static str),
    /// Not the current version of the key backup (`M_WRONG_ROOM_KEYS_VERSION`).
    #[error("the current version of the backup is {current}")]
    WrongBackupVersion {
        /// The current one.
        current: u64,
    },
    /// What is said of a backup does not fit to it (`M_INVALID_PARAM`).
    #[error("the {0} does not match that of the backup")]
    BackupMismatch(&'static str),
    /// No such delayed event (`M_NOT_FOUND`).
    #[error("there is no such delayed event")]
    DelayedNotFound,
    /// The user has as many delayed events as may wait (`M_LIMIT_EXCEEDED`).
    #[error("the maximum number of delayed events has been reached")]
    TooManyDelayed {
        /// When the next of them is due, in Unix milliseconds.
        next_ts: u64,
    },
    /// A thread that the user unsubscribed from since (`M_CONFLICTING_UNSUBSCRIPTION`).
    #[error("you have unsubscribed from this thread since")]
    UnsubscribedSince,
    /// Reading failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Writing failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<InternError> for UsersError {
    fn from(error: InternError) -> Self {
        match error {
            InternError::Store(error) => Self::Store(error),
            InternError::Commit(error) => Self::Commit(error),
        }
    }
}

/// What the functions of this crate return.
pub type Result<T, E = UsersError> = std::result::Result<T, E>;
