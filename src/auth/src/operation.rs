//! Delicate operations: whoever does one confirms who they are.

use ruma::OwnedDeviceId;

use crate::oauth::Action;

/// What is to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A device is logged out.
    DeleteDevice(OwnedDeviceId),
    /// Several devices are.
    DeleteDevices,
    /// Another password is set.
    ChangePassword,
    /// The account is closed.
    Deactivate,
    /// Cross-signing keys are put in the place of others.
    UploadSigningKeys,
    /// Another client is to be logged in with a login token.
    LoginToken,
    /// An account is made.
    Register,
}

impl Operation {
    /// Its name, by which confirmations of one operation are told from those of others.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::DeleteDevice(device) => format!("delete device\0{device}"),
            Self::DeleteDevices => "delete devices".to_owned(),
            Self::ChangePassword => "change password".to_owned(),
            Self::Deactivate => "deactivate".to_owned(),
            Self::UploadSigningKeys => "upload signing keys".to_owned(),
            Self::LoginToken => "login token".to_owned(),
            Self::Register => "register".to_owned(),
        }
    }

    /// The page of the account where somebody confirms it, and the device that it is about.
    pub(crate) fn page(&self) -> (Action, Option<&OwnedDeviceId>) {
        match self {
            Self::DeleteDevice(device) => (Action::DeviceDelete, Some(device)),
            Self::Deactivate => (Action::Deactivate, None),
            Self::UploadSigningKeys => (Action::ResetCrossSigning, None),
            Self::DeleteDevices | Self::ChangePassword | Self::LoginToken | Self::Register => (Action::Confirm, None),
        }
    }
}
