mod destinations;
mod ephemeral;
mod peer;
mod two;
