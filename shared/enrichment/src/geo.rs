//! The place of an IP address.
//!
//! Two layouts of city databases are read: the nested one of `MaxMind`
//! (`GeoLite2` and `GeoIP2` City) and the flat one of the npm packages (`country_code`, `city`,
//! `latitude`). IPv4 and IPv6 may be in one file or in two.

mod address;
mod record;

pub use record::{Location, Place};

use maxminddb::{Mmap, Reader};
use quick_cache::sync::Cache;
use record::Record;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// How many addresses are remembered, found or not: at most about 8 MB.
const CACHED: usize = 32_768;

/// Why a database cannot be used.
#[derive(Debug, Error)]
pub enum GeoError {
    /// The file is missing, or not in `MaxMind`'s format.
    #[error("the city database {} cannot be opened", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the reader said.
        #[source]
        source: maxminddb::MaxMindDbError,
    },
}

/// City databases, mapped into memory, with a bounded cache in front. Shared by
/// all threads.
pub struct Geo {
    databases: Vec<Reader<Mmap>>,
    cache: Cache<IpAddr, Option<Place>>,
}

impl Geo {
    /// Maps the databases; a later one is asked what the earlier ones do not
    /// know. Without any, nothing has a place. The files must not be written
    /// while this lives: replace them by renaming, as the installer does.
    ///
    /// # Errors
    /// [`GeoError::Open`] names the file that cannot be used.
    pub fn open<P: AsRef<Path>>(paths: &[P]) -> Result<Self, GeoError> {
        let databases = paths
            .iter()
            .map(|path| map(path.as_ref()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            databases,
            cache: Cache::new(CACHED),
        })
    }

    /// The place of an address as a client wrote it; see [`Geo::lookup`].
    /// Blanks around it and the brackets of a URL are allowed. `None` also if
    /// it is no address.
    #[must_use]
    pub fn lookup_str(&self, text: &str) -> Option<Place> {
        self.lookup(address::parse(text)?)
    }

    /// The place of an address; `None` if it is not a public one or unknown.
    /// An IPv4 address mapped into IPv6 is looked up as what it is.
    #[must_use]
    pub fn lookup(&self, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        if self.databases.is_empty() || !address::is_public(address) {
            return None;
        }
        if let Some(known) = self.cache.get(&address) {
            return known;
        }
        let place = self
            .databases
            .iter()
            .find_map(|database| find(database, address));
        self.cache.insert(address, place.clone());
        place
    }
}

fn map(path: &Path) -> Result<Reader<Mmap>, GeoError> {
    // SAFETY: a mapped file that changes underneath is undefined behaviour.
    // In Lambda the databases lie in a read-only layer; locally in a folder
    // that the installer only ever puts in place whole, by a rename.
    #[allow(unsafe_code)]
    unsafe { Reader::open_mmap(path) }.map_err(|source| GeoError::Open {
        path: path.to_owned(),
        source,
    })
}

/// What one database knows. Not covering the address, having no record for it
/// and having one that does not decode all mean that the place is not known: a
/// flaw in a database must not cost an event.
fn find(database: &Reader<Mmap>, address: IpAddr) -> Option<Place> {
    let record: Record<'_> = database.lookup(address).ok()?.decode().ok()??;
    record.into_place()
}
