mod destinations;
mod ephemeral;
mod peer;
mod places;
mod two;
