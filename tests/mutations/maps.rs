//! A PSBT as the maps that it is written in (BIP 174): what `bitcoin` would not write can be written so.

use bitcoin::consensus::encode::{VarInt, deserialize_partial, serialize};

/// Keys and values of the maps, as they stand: of the whole, of inputs, of outputs.
pub(crate) type Maps = Vec<Vec<(Vec<u8>, Vec<u8>)>>;

/// The maps; none if the bytes are no PSBT.
pub(crate) fn apart(bytes: &[u8]) -> Option<Maps> {
    let mut rest = bytes.strip_prefix(b"psbt\xff")?;
    let mut maps = Vec::new();
    while !rest.is_empty() {
        let mut map = Vec::new();
        loop {
            let key = item(&mut rest)?;
            if key.is_empty() {
                break;
            }
            map.push((key, item(&mut rest)?));
        }
        maps.push(map);
    }
    Some(maps)
}

fn item(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let (VarInt(length), size) = deserialize_partial(rest).ok()?;
    let end = size.checked_add(usize::try_from(length).ok()?)?;
    let item = rest.get(size..end)?.to_vec();
    *rest = &rest[end..];
    Some(item)
}

/// The bytes of the maps.
pub(crate) fn together(maps: &Maps) -> Vec<u8> {
    let mut bytes = b"psbt\xff".to_vec();
    for map in maps {
        for item in map.iter().flat_map(|(key, value)| [key, value]) {
            bytes.extend(serialize(&VarInt::from(item.len())));
            bytes.extend(item);
        }
        bytes.push(0);
    }
    bytes
}
