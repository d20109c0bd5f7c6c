mod membership;
mod rooms;
mod smoke;
