//! The disk below SQLite, on record, so that any instant of a run can be made the one at which the power went.
//!
//! Flows in: whatever SQLite writes, syncs, cuts off and removes, seen in its own file layer (a VFS,
//! <https://sqlite.org/vfs.html>); marks of what the store has acknowledged. Flows out: the files that a disk could hold
//! after a power cut: what was synced, and of the rest anything: none, all, or some writes and parts of writes.
#![allow(unsafe_code, reason = "SQLite's file layer is a table of C functions")]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use coracle_store::Revision;
use rand::Rng as _;
use rand::rngs::StdRng;
use rusqlite::ffi::{
    SQLITE_OK, sqlite3_file, sqlite3_initialize, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs,
    sqlite3_vfs_find, sqlite3_vfs_register,
};

/// What a disk cannot tear.
const SECTOR: usize = 512;

/// What was done to the disk, or heard from the store.
#[derive(Clone, Debug)]
pub enum Act {
    /// Bytes at an offset.
    Write(PathBuf, usize, Vec<u8>),
    /// The file ends here.
    Truncate(PathBuf, usize),
    /// All that was done to this file before is on disk when this is over.
    Sync(PathBuf),
    /// The file is gone.
    Delete(PathBuf),
    /// The store has said that this revision is on disk.
    Acknowledged(Revision),
}

/// A file that SQLite has open.
struct File {
    path: PathBuf,
    methods: &'static sqlite3_io_methods,
}

static RECORD: Mutex<Vec<Act>> = Mutex::new(Vec::new());
static IS_RECORDING: AtomicBool = AtomicBool::new(false);
static FILES: Mutex<BTreeMap<usize, File>> = Mutex::new(BTreeMap::new());
static USUAL: AtomicPtr<sqlite3_vfs> = AtomicPtr::new(std::ptr::null_mut());

/// Puts every file that SQLite opens from now on, in this process, on record.
pub fn start() {
    // SAFETY: SQLite is initialised before its list of file layers is used. The layer registered is a copy of the usual
    // one but for two functions of the same signatures, and lives for ever, as does the usual one.
    unsafe {
        assert_eq!(sqlite3_initialize(), SQLITE_OK);
        let usual = sqlite3_vfs_find(std::ptr::null());
        USUAL.store(usual, Ordering::SeqCst);
        let ours = Box::leak(Box::new(sqlite3_vfs {
            zName: c"on-record".as_ptr(),
            pNext: std::ptr::null_mut(),
            xOpen: Some(open),
            xDelete: Some(delete),
            ..*usual
        }));
        assert_eq!(sqlite3_vfs_register(ours, 1), SQLITE_OK);
    }
    IS_RECORDING.store(true, Ordering::SeqCst);
}

/// Puts something on record.
pub fn note(act: Act) {
    if IS_RECORDING.load(Ordering::SeqCst) {
        RECORD.lock().unwrap().push(act);
    }
}

/// Ends the recording, and returns it.
pub fn stop() -> Vec<Act> {
    IS_RECORDING.store(false, Ordering::SeqCst);
    std::mem::take(&mut RECORD.lock().unwrap())
}

/// The files that there may be if the power goes after these acts.
pub fn after_power_cut(acts: &[Act], random: &mut StdRng) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    let mut unsynced: BTreeMap<&PathBuf, Vec<&Act>> = BTreeMap::new();
    for act in acts {
        match act {
            Act::Write(path, ..) | Act::Truncate(path, _) => unsynced.entry(path).or_default().push(act),
            Act::Sync(path) => {
                let file = files.entry(path.clone()).or_default();
                for act in unsynced.remove(path).unwrap_or_default() {
                    apply(file, act, usize::MAX);
                }
            }
            Act::Delete(path) => {
                unsynced.remove(path);
                files.remove(path);
            }
            Act::Acknowledged(_) => {}
        }
    }
    // None of the rest, all of it, or any of it.
    let luck = [0.0, 1.0, 0.5][random.random_range(0..3)];
    for (path, acts) in unsynced {
        for act in acts {
            if !random.random_bool(luck) {
                continue;
            }
            let torn = luck < 1.0 && random.random_bool(0.3);
            let most = if torn {
                SECTOR * random.random_range(0..8)
            } else {
                usize::MAX
            };
            apply(files.entry(path.clone()).or_default(), act, most);
        }
    }
    files
}

/// Does to a file what was done to it, with no more than so many bytes of a write.
fn apply(file: &mut Vec<u8>, act: &Act, most: usize) {
    match act {
        Act::Write(_, at, bytes) => {
            let bytes = &bytes[..bytes.len().min(most)];
            if file.len() < at + bytes.len() {
                file.resize(at + bytes.len(), 0);
            }
            file[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        Act::Truncate(_, size) => file.resize(*size, 0),
        Act::Sync(_) | Act::Delete(_) | Act::Acknowledged(_) => {}
    }
}

fn path_of(name: *const c_char) -> PathBuf {
    // SAFETY: SQLite's names are strings that end with a zero byte.
    let name = unsafe { CStr::from_ptr(name) };
    PathBuf::from(name.to_str().unwrap())
}

fn size(number: sqlite3_int64) -> usize {
    usize::try_from(number).unwrap()
}

/// What is known of an open file.
fn of(file: *mut sqlite3_file) -> (PathBuf, &'static sqlite3_io_methods) {
    let files = FILES.lock().unwrap();
    let known = &files[&(file as usize)];
    (known.path.clone(), known.methods)
}

unsafe extern "C" fn open(
    _vfs: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let usual = USUAL.load(Ordering::SeqCst);
    // SAFETY: the arguments are SQLite's own, passed on to the layer that they are for. A file that was opened has its
    // methods, which are constants; ours are a copy of them but for four functions that call the originals.
    unsafe {
        let code = (*usual).xOpen.unwrap()(usual, name, file, flags, out);
        if code == SQLITE_OK && !name.is_null() {
            let methods = &*(*file).pMethods;
            let path = path_of(name);
            FILES
                .lock()
                .unwrap()
                .insert(file as usize, File { path, methods });
            (*file).pMethods = Box::leak(Box::new(sqlite3_io_methods {
                // Without reading files as memory.
                iVersion: 2,
                xClose: Some(close),
                xWrite: Some(write),
                xTruncate: Some(truncate),
                xSync: Some(sync),
                ..*methods
            }));
        }
        code
    }
}

unsafe extern "C" fn delete(_vfs: *mut sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    let usual = USUAL.load(Ordering::SeqCst);
    // SAFETY: as in `open`.
    let code = unsafe { (*usual).xDelete.unwrap()(usual, name, sync_folder) };
    if code == SQLITE_OK {
        note(Act::Delete(path_of(name)));
    }
    code
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    let known = FILES.lock().unwrap().remove(&(file as usize)).unwrap();
    // SAFETY: it is the file's own method, called once with what SQLite gave.
    unsafe { known.methods.xClose.unwrap()(file) }
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    bytes: *const c_void,
    count: c_int,
    at: sqlite3_int64,
) -> c_int {
    let (path, methods) = of(file);
    // SAFETY: SQLite gives `count` bytes; the method is the file's own.
    let (code, bytes) = unsafe {
        let given = std::slice::from_raw_parts(bytes.cast::<u8>(), usize::try_from(count).unwrap());
        (methods.xWrite.unwrap()(file, bytes, count, at), given.to_vec())
    };
    note(Act::Write(path, size(at), bytes));
    code
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, length: sqlite3_int64) -> c_int {
    let (path, methods) = of(file);
    note(Act::Truncate(path, size(length)));
    // SAFETY: it is the file's own method.
    unsafe { methods.xTruncate.unwrap()(file, length) }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    let (path, methods) = of(file);
    // SAFETY: it is the file's own method.
    let code = unsafe { methods.xSync.unwrap()(file, flags) };
    if code == SQLITE_OK {
        note(Act::Sync(path));
    }
    code
}
