mod destinations;
mod ephemeral;
mod peer;
