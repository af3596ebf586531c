//! What is written is read, files go with their results, and folders with their owners.

#![allow(clippy::unwrap_used)]

use crossbeam_channel::Receiver;
use phalanx_engine::{
    data::Buffer,
    id::ClientId,
    message::{FromPeer, ToPeer},
};

use super::*;
use crate::store::{Found, Removed};

/// A folder of this test's own, with a store and a disk in it.
struct World {
    base: PathBuf,
    store: Arc<Store>,
    disk: Disk,
    tell: Tell,
    told: Receiver<Done>,
}

impl World {
    fn new(name: &str) -> Self {
        let base = std::env::temp_dir().join(format!("phalanx-spill-test-{name}-{}", std::process::id()));
        fs::create_dir_all(&base).unwrap();
        let (tell, told) = crossbeam_channel::unbounded();
        let disk = Disk::new(base.clone());
        Self { disk, store: Arc::default(), tell: Arc::new(move |done| drop(tell.send(done))), told, base }
    }

    fn spills(&self, sequence: u64) -> Done {
        let result = self.store.numbered(task(sequence)).unwrap();
        self.disk.write(task(sequence), result, &self.store, &self.tell).unwrap();
        self.told.recv().unwrap()
    }

    /// The files in all folders of workers, without locks.
    fn files(&self) -> usize {
        let folders = fs::read_dir(&self.base).unwrap().flatten().map(|folder| folder.path());
        let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap().flatten());
        files.filter(|file| file.file_name() != LOCK).count()
    }

    fn folders(&self) -> usize {
        fs::read_dir(&self.base).unwrap().count()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.base);
    }
}

const fn task(sequence: u64) -> TaskId {
    TaskId::new(ClientId(3), sequence)
}

fn array() -> Data {
    let numbers: Vec<f64> = (0..10_000).map(f64::from).collect();
    Data { header: vec![7, 8, 9], buffers: vec![Buffer::from_vec(numbers), Buffer::from_vec(vec![1_u8, 2, 3])] }
}

#[test]
fn a_result_comes_back_from_disk_as_it_was_and_its_file_goes_with_it() {
    let world = World::new("back");
    world.store.insert(task(1), Value::from_data(array()));
    assert!(matches!(world.spills(1), Done::Written { .. }));
    let mut removed = Removed::default();
    world.store.evict(&[task(1)], &mut removed);
    assert!(world.store.get(task(1)).is_none());
    let Some(Found::Disk(file)) = world.store.find(task(1)) else { panic!("it is on disk") };
    world.disk.read(task(1), file, &world.store, &world.tell).unwrap();
    let Done::Read { value, .. } = world.told.recv().unwrap() else { panic!("it is read") };
    assert_eq!(value.to_data().unwrap(), array());
    assert_eq!(world.files(), 1);
    world.store.remove(&[task(1)], &mut removed);
    drop(removed);
    // The thread deletes in turn: what is written after it is done after it.
    world.store.insert(task(2), Value::new(5_u64));
    world.spills(2);
    assert_eq!(world.files(), 1);
}

#[test]
fn a_result_that_is_gone_meanwhile_leaves_no_file() {
    let world = World::new("gone");
    world.store.insert(task(1), Value::new(String::from("first")));
    let old = world.store.numbered(task(1)).unwrap();
    world.store.remove(&[task(1)], &mut Removed::default());
    world.store.insert(task(1), Value::new(String::from("second")));
    world.disk.write(task(1), old, &world.store, &world.tell).unwrap();
    assert!(matches!(world.told.recv().unwrap(), Done::Written { .. }));
    world.store.evict(&[task(1)], &mut Removed::default());
    assert!(matches!(world.store.find(task(1)), Some(Found::Memory(_))));
    world.spills(1);
    assert_eq!(world.files(), 1);
}

#[test]
fn a_folder_goes_with_its_disk() {
    let World { base, store, disk, tell, told } = &World::new("ends");
    store.insert(task(1), Value::new(1_u64));
    disk.write(task(1), store.numbered(task(1)).unwrap(), store, tell).unwrap();
    told.recv().unwrap();
    assert_eq!(fs::read_dir(base).unwrap().count(), 1);
    disk.close();
    assert_eq!(fs::read_dir(base).unwrap().count(), 0);
    let error = disk.write(task(1), store.numbered(task(1)).unwrap(), store, tell).unwrap_err();
    assert_eq!(error.to_string(), "the worker ends");
}

#[test]
fn folders_of_the_dead_are_removed_and_those_of_the_living_are_not() {
    let world = World::new("dead");
    let folder = |name: &str| {
        let path = world.base.join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("0"), "a result").unwrap();
        File::create_new(path.join(LOCK)).unwrap()
    };
    drop(folder("phalanx-spill-1-a"));
    let held = folder("phalanx-spill-2-b");
    held.try_lock().unwrap();
    drop(folder("somebody-else's"));
    fs::create_dir(world.base.join("phalanx-spill-3-c")).unwrap();
    world.store.insert(task(1), Value::new(1_u64));
    world.spills(1);
    assert!(!world.base.join("phalanx-spill-1-a").exists() && !world.base.join("phalanx-spill-3-c").exists());
    assert!(world.base.join("phalanx-spill-2-b/0").exists() && world.base.join("somebody-else's").exists());
    assert_eq!(world.folders(), 3);
}

#[test]
fn a_disk_that_cannot_be_written_says_why_and_is_tried_again() {
    let world = World::new("full");
    let disk = Disk::new(world.base.join("file/folder"));
    fs::write(world.base.join("file"), "in the way").unwrap();
    world.store.insert(task(1), Value::new(1_u64));
    let write = || {
        disk.write(task(1), world.store.numbered(task(1)).unwrap(), &world.store, &world.tell).unwrap();
        world.told.recv().unwrap()
    };
    let Done::NotWritten { reason, .. } = write() else { panic!("nothing can be written there") };
    assert!(reason.starts_with("cannot write to ") && reason.contains("file/folder"), "{reason}");
    fs::remove_file(world.base.join("file")).unwrap();
    assert!(matches!(write(), Done::Written { .. }));
}

#[test]
fn a_file_that_was_changed_is_not_read() {
    let world = World::new("changed");
    world.store.insert(task(1), Value::from_data(array()));
    world.spills(1);
    world.store.evict(&[task(1)], &mut Removed::default());
    let Some(Found::Disk(file)) = world.store.find(task(1)) else { panic!("it is on disk") };
    fs::write(&file.path, [1; 100]).unwrap();
    assert!(file.read().is_err());
    fs::write(&file.path, &file.shape).unwrap();
    assert!(file.read().is_err());
}

impl World {
    /// A result that is on disk only, in a file.
    fn on_disk(&self) -> (Arc<SpillFile>, File) {
        self.store.insert(task(1), Value::from_data(array()));
        self.spills(1);
        self.store.evict(&[task(1)], &mut Removed::default());
        let Some(Found::Disk(file)) = self.store.find(task(1)) else { panic!("it is on disk") };
        let writable = File::options().write(true).open(&file.path).unwrap();
        (file, writable)
    }
}

#[test]
fn pieces_are_all_that_follows_the_shape_and_nothing_of_what_cannot_be_read() {
    let world = World::new("pieces");
    let (file, writable) = world.on_disk();
    let data = array();
    let expected = [&data.header[..], data.buffers[0].as_bytes(), data.buffers[1].as_bytes()].concat();
    let mut pieces = file.pieces().unwrap();
    assert_eq!(pieces.n_left(), expected.len());
    let mut found = Vec::new();
    while let Some(piece) = pieces.next(30_000).unwrap() {
        assert!(piece.len() <= 30_000);
        found.extend(piece);
    }
    assert_eq!(found, expected);
    // Cut short in the middle of reading, and before.
    let mut pieces = file.pieces().unwrap();
    writable.set_len(50_000).unwrap();
    assert!(pieces.next(30_000).unwrap().is_some());
    assert_eq!(pieces.next(30_000).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(file.pieces().unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn who_asks_for_what_cannot_be_read_is_told_that_it_is_not_there() {
    let guard = crate::security::Guard::default();
    for is_cut in [false, true] {
        let world = World::new(if is_cut { "cut" } else { "broken" });
        let (file, writable) = world.on_disk();
        let (listener, url) = crate::transport::listen("tcp://127.0.0.1:0", &guard).await.unwrap();
        let serve = tokio::spawn(crate::peers::serve(listener, Arc::default(), Arc::clone(&world.store)));
        let link = crate::transport::Link::to(&url, crate::opening::Channel::Data, &guard).await.unwrap();
        let (sender, mut receiver) = link.typed::<FromPeer, ToPeer>();
        let mut answers = Vec::new();
        for n_asked in 1..=2 {
            sender.send(FromPeer::Get { tasks: vec![task(1)] }).unwrap();
            sender.flush();
            while answers.len() < n_asked {
                assert!(receiver.recv(&mut answers).await.unwrap());
            }
            if is_cut {
                writable.set_len(50_000).unwrap();
            } else {
                file.set_broken();
            }
        }
        let [ToPeer::Got { value: Some(value), .. }, ToPeer::Missing { task: missing }] = &answers[..] else {
            panic!("{answers:?}");
        };
        assert_eq!((value.to_data().unwrap(), *missing), (array(), task(1)));
        serve.abort();
    }
}
