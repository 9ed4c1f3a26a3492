//! Numbers, texts and lists as differences. See [`super::delta`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::delta::{Bad, Delta, Input, Keyed, put_difference, put_marked, put_number};

impl Delta for u64 {
    fn blank() -> Self {
        0
    }

    fn put(&self, before: &Self, out: &mut Vec<u8>) {
        put_difference(self.wrapping_sub(*before).cast_signed(), out);
    }

    fn take(&mut self, input: &mut Input<'_>) -> Result<(), Bad> {
        *self = self.wrapping_add(input.difference()?.cast_unsigned());
        Ok(())
    }
}

macro_rules! small {
    ($($name:ty),+) => {
        $(impl Delta for $name {
            fn blank() -> Self {
                0
            }

            fn put(&self, before: &Self, out: &mut Vec<u8>) {
                put_difference(i64::from(*self) - i64::from(*before), out);
            }

            fn take(&mut self, input: &mut Input<'_>) -> Result<(), Bad> {
                let value = i64::from(*self).checked_add(input.difference()?).ok_or(Bad)?;
                *self = value.try_into().map_err(|_| Bad)?;
                Ok(())
            }
        })+
    };
}
small!(u8, u16, u32);

impl Delta for bool {
    fn blank() -> Self {
        false
    }

    fn put(&self, before: &Self, out: &mut Vec<u8>) {
        out.push(u8::from(self != before));
    }

    fn take(&mut self, input: &mut Input<'_>) -> Result<(), Bad> {
        *self ^= input.mark()?;
        Ok(())
    }
}

impl Delta for String {
    fn blank() -> Self {
        Self::new()
    }

    fn put(&self, before: &Self, out: &mut Vec<u8>) {
        if self == before {
            out.push(0);
        } else {
            put_number(self.len() as u64 + 1, out);
            out.extend_from_slice(self.as_bytes());
        }
    }

    fn take(&mut self, input: &mut Input<'_>) -> Result<(), Bad> {
        let Some(length) = input.number()?.checked_sub(1) else { return Ok(()) };
        let bytes = input.bytes(length.try_into().map_err(|_| Bad)?)?;
        input.charge(bytes.len())?;
        str::from_utf8(bytes).map_err(|_| Bad)?.clone_into(self);
        Ok(())
    }
}

impl<T: Delta> Delta for Option<T> {
    fn blank() -> Self {
        None
    }

    fn put(&self, before: &Self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some() != before.is_some()));
        match (self, before) {
            (Some(value), Some(before)) => value.put(before, out),
            (Some(value), None) => value.put(&T::blank(), out),
            (None, _) => {}
        }
    }

    fn take(&mut self, input: &mut Input<'_>) -> Result<(), Bad> {
        let changes = input.mark()?;
        match self {
            Some(_) if changes => *self = None,
            Some(value) => value.take(input)?,
            None if changes => {
                input.charge(size_of::<T>())?;
                let mut value = T::blank();
                value.take(input)?;
                *self = Some(value);
            }
            None => {}
        }
        Ok(())
    }
}

impl<T: Delta> Delta for Box<T> {
    fn blank() -> Self {
        Self::new(T::blank())
    }

    fn put(&self, before: &Self, out: &mut Vec<u8>) {
        T::put(self, before, out);
    }

    fn take(&mut self, input: &mut Input<'_>) -> Result<(), Bad> {
        input.charge(size_of::<T>())?;
        T::take(self, input)
    }
}

/// Of structs only: what is shared with the sample before has not changed, which is one zero byte.
impl<T: Delta + Clone> Delta for Arc<T> {
    fn blank() -> Self {
        Self::new(T::blank())
    }

    fn put(&self, before: &Self, out: &mut Vec<u8>) {
        if Self::ptr_eq(self, before) {
            out.push(0);
        } else {
            T::put(self, before, out);
        }
    }

    fn take(&mut self, input: &mut Input<'_>) -> Result<(), Bad> {
        if input.is_unchanged() {
            return input.byte().map(|_| ());
        }
        input.charge(size_of::<T>())?;
        Self::make_mut(self).take(input)
    }
}

impl<T: Delta, const N: usize> Delta for [T; N] {
    fn blank() -> Self {
        std::array::from_fn(|_| T::blank())
    }

    fn put(&self, before: &Self, out: &mut Vec<u8>) {
        put_marked(out, |out| self.iter().zip(before).for_each(|(value, before)| value.put(before, out)));
    }

    fn take(&mut self, input: &mut Input<'_>) -> Result<(), Bad> {
        if input.mark()? {
            self.iter_mut().try_for_each(|value| value.take(input))?;
        }
        Ok(())
    }
}

impl<T: Delta + Keyed> Delta for Vec<T> {
    fn blank() -> Self {
        Self::new()
    }

    /// How many more than before; then for each: 0 what follows in the list before, 1 new, `n` what follows after
    /// `n - 1` that are gone.
    fn put(&self, before: &Self, out: &mut Vec<u8>) {
        (self.len() as u64).put(&(before.len() as u64), out);
        let mut next = 0;
        let mut places: Option<HashMap<T::Key, usize>> = None;
        for value in self {
            let key = value.key();
            let follows = before.get(next).is_some_and(|old| old.key() == key);
            let place = if follows {
                Some(next)
            } else {
                let all = || before.iter().enumerate().rev().map(|(place, old)| (old.key(), place)).collect();
                places.get_or_insert_with(all).get(&key).copied().filter(|place| *place >= next)
            };
            if let Some(place) = place {
                let gone = place - next;
                put_number(if gone == 0 { 0 } else { gone as u64 + 1 }, out);
                value.put(&before[place], out);
                next = place + 1;
            } else {
                out.push(1);
                value.put(&T::blank(), out);
            }
        }
    }

    fn take(&mut self, input: &mut Input<'_>) -> Result<(), Bad> {
        let mut count = self.len() as u64;
        count.take(input)?;
        // Each takes a byte at least.
        if count > input.left() as u64 {
            return Err(Bad);
        }
        let mut old = std::mem::take(self).into_iter();
        for _ in 0..count {
            let mut value = match input.number()? {
                0 => old.next().ok_or(Bad)?,
                1 => {
                    input.charge(size_of::<T>())?;
                    T::blank()
                }
                more => old.nth(usize::try_from(more - 1).map_err(|_| Bad)?).ok_or(Bad)?,
            };
            value.take(input)?;
            self.push(value);
        }
        Ok(())
    }
}

impl<A: Delta, B: Delta> Delta for (A, B) {
    fn blank() -> Self {
        (A::blank(), B::blank())
    }

    fn put(&self, before: &Self, out: &mut Vec<u8>) {
        self.0.put(&before.0, out);
        self.1.put(&before.1, out);
    }

    fn take(&mut self, input: &mut Input<'_>) -> Result<(), Bad> {
        self.0.take(input)?;
        self.1.take(input)
    }
}

impl<A: Delta, B: Delta, C: Delta> Delta for (A, B, C) {
    fn blank() -> Self {
        (A::blank(), B::blank(), C::blank())
    }

    fn put(&self, before: &Self, out: &mut Vec<u8>) {
        self.0.put(&before.0, out);
        self.1.put(&before.1, out);
        self.2.put(&before.2, out);
    }

    fn take(&mut self, input: &mut Input<'_>) -> Result<(), Bad> {
        self.0.take(input)?;
        self.1.take(input)?;
        self.2.take(input)
    }
}

/// As a list of pairs.
impl<V: Delta + Clone> Delta for BTreeMap<u32, V>
where
    (u32, V): Keyed,
{
    fn blank() -> Self {
        Self::new()
    }

    fn put(&self, before: &Self, out: &mut Vec<u8>) {
        let pairs = |map: &Self| map.iter().map(|(key, value)| (*key, value.clone())).collect::<Vec<_>>();
        pairs(self).put(&pairs(before), out);
    }

    fn take(&mut self, input: &mut Input<'_>) -> Result<(), Bad> {
        let mut pairs: Vec<(u32, V)> = std::mem::take(self).into_iter().collect();
        pairs.take(input)?;
        *self = pairs.into_iter().collect();
        Ok(())
    }
}
