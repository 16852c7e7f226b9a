use weft_model::fixture::{Log, name, release};
use weft_model::{ClampId, Command, FormatLevel, Index, Percent, WallTime};

use weft_plan::release::Clamps;

use super::*;

fn log() -> Log {
    let mut log = Log::founded();
    log.raise(FormatLevel::RELEASES);
    let spec = Box::new(release("checkout"));
    log.accept(log.admin(), Command::PutRelease(name("shop/v2"), spec));
    log
}

fn clamp(log: &Log, id: u8) -> Clamp {
    let run = log.state.release(&name("shop/v2"));
    Clamp {
        id: ClampId([id; 16]),
        release: name("shop/v2"),
        run: run.map_or(Index(0), |record| record.created),
        region: name("eu-west"),
        cluster: name("eu-west-1"),
        gateway: name("gw-1"),
        weight: Percent::NONE,
        made: WallTime(1_700_000_000_123),
        by: name("ana"),
    }
}

fn ids(keeper: &ClampKeeper) -> Vec<u8> {
    keeper.known().iter().map(|clamp| clamp.id.0[0]).collect()
}

#[tokio::test]
async fn what_was_made_is_there_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clamps.pb");
    let log = log();
    let keeper = ClampKeeper::open(path.clone(), ClampSource::default()).unwrap();
    let made = keeper.make(clamp(&log, 1), &log.state).await.unwrap();
    // Nothing ran that writes it later: a killed process would leave this.
    drop(keeper);
    let keeper = ClampKeeper::open(path, ClampSource::default()).unwrap();
    assert_eq!(keeper.known().iter().cloned().collect::<Vec<_>>(), [made]);
    let again = keeper.make(clamp(&log, 2), &log.state).await.unwrap();
    assert_eq!(again.id, ClampId([1; 16]), "it is in force already");
}

#[tokio::test]
async fn a_disk_that_takes_nothing_lowers_and_says_so_until_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gone/clamps.pb");
    let log = log();
    let keeper = ClampKeeper::open(path.clone(), ClampSource::default()).unwrap();
    // The second one is answered with the first, which is no better kept by then.
    for id in [1, 2] {
        let said = keeper.make(clamp(&log, id), &log.state).await;
        let Err(ClampError::Unkept { id, .. }) = said else {
            panic!("{said:?}");
        };
        assert_eq!(id, ClampId([1; 16]));
        assert_eq!(ids(&keeper), [1], "it is in force");
    }
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    let made = keeper.make(clamp(&log, 3), &log.state).await.unwrap();
    assert_eq!(made.id, ClampId([1; 16]));
    drop(keeper);
    let keeper = ClampKeeper::open(path, ClampSource::default()).unwrap();
    assert_eq!(ids(&keeper), [1]);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clamps.pb");
    let log = log();
    file::store(&path, &Clamps::restore([clamp(&log, 1)])).unwrap();
    let sound = std::fs::read(&path).unwrap();
    assert_eq!(file::load(&path).unwrap().iter().count(), 1);
    for at in 0..sound.len() * 8 {
        let mut bytes = sound.clone();
        bytes[at / 8] ^= 1 << (at % 8);
        assert!(file::decode(&bytes).is_err(), "bit {at}");
    }
    for length in 1..sound.len() {
        assert!(file::decode(&sound[..length]).is_err(), "{length} bytes");
    }
    std::fs::write(&path, &sound[1..]).unwrap();
    let damaged = ClampKeeper::open(path, ClampSource::default()).err();
    assert!(matches!(damaged, Some(ClampFileError::Damaged { .. })));
}

#[tokio::test]
async fn what_a_peer_tells_counts_and_goes_when_the_log_lifts_it() {
    let mut log = log();
    let keeper = ClampKeeper::in_memory();
    let mut changed = keeper.source().changed();
    let own = (&name("us-east-1"), &name("gw-1"));
    let peer = (&name("eu-west-1"), &name("gw-1"));
    let region = name("eu-west");
    let said = vec![clamp(&log, 1), clamp(&log, 2)];
    keeper.hear(own, peer, &region, said.clone());
    assert!(changed.has_changed().unwrap());
    changed.mark_unchanged();
    keeper.hear(own, peer, &region, said);
    assert!(!changed.has_changed().unwrap(), "nothing new");
    let lifts = vec![ClampId([1; 16])];
    log.accept(log.admin(), Command::ResumeRelease(name("shop/v2"), lifts));
    keeper.follow(&log.state);
    assert_eq!(ids(&keeper), [2]);
}

#[test]
fn no_mutant_of_the_file_panics() {
    use prost::Message;
    use weft_mutants::Decoder;
    let log = log();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clamps.pb");
    let clamps = Clamps::restore(vec![clamp(&log, 1), clamp(&log, 2)]);
    file::store(&path, &clamps).unwrap();
    let written = std::fs::read(&path).unwrap();
    // Fields that stand twice or are unknown leave the checksum as it was.
    let decoder = Decoder::new("clamps behind their checksum", [written], file::decode);
    let decoder = decoder.behind(
        |bytes| match weft_proto::catalog::ClampFile::decode(&*bytes) {
            Ok(file) => file::resealed(file).encode_to_vec(),
            Err(_) => bytes,
        },
    );
    weft_mutants::check(&[decoder]);
}
