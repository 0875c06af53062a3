//! doppler-sampling
