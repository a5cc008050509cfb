//! The API server through its real doors: in process, and over TLS.

#[cfg(test)]
mod applies;
mod client;
#[cfg(test)]
mod deletes;
#[cfg(test)]
mod door;
#[cfg(test)]
mod ephemeral;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod evictions;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod patches;
#[cfg(test)]
mod priorities;
#[cfg(test)]
mod references;
#[cfg(test)]
mod services;
#[cfg(test)]
mod subresources;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod watches;
#[cfg(test)]
mod writes;
