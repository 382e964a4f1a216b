// Transaction IDs, minted and invented.

import { createHmac } from "node:crypto";

const DIGITS = "0123456789abcdefghjkmnpqrstvwxyz";
const EPOCH = 1_735_689_600;
const PARTNER = 2n;

let minted = 0n;

/** A genuine ID of a click on an offer, `age` seconds ago, that no page has; none comes twice. Its key has the number 1. */
export function mint(key, offer, age = 0) {
  minted += 1n;
  const time = BigInt(Math.floor(Date.now() / 1000 - age) - EPOCH);
  let signed = 1n;
  // The last field is the page and the position in it.
  for (const [value, bits] of [[time, 30n], [BigInt(offer), 20n], [PARTNER, 22n], [minted, 35n]]) {
    signed = (signed << bits) | value;
  }
  const bytes = Buffer.from(signed.toString(16).padStart(28, "0"), "hex");
  const bits = (signed << 38n) | (createHmac("sha256", key).update(bytes).digest().readBigUInt64BE() >> 26n);
  let text = "";
  for (let shift = 145n; shift >= 0n; shift -= 5n) text += DIGITS[Number((bits >> shift) & 31n)];
  return text;
}

/** `count` digits of a transaction ID, from the end of a number. */
function digits(number, count) {
  let text = "";
  for (let n = 0; n < count; n += 1) {
    text = DIGITS[number % 32] + text;
    number = Math.floor(number / 32);
  }
  return text;
}

/** An ID that is as good as a genuine one for an index, and quicker: the number of the key, the time of the click, noise. */
export function invent(clickedAt) {
  const noise = () => digits(Math.floor(Math.random() * 2 ** 40), 8);
  return (digits(2 ** 30 + clickedAt - EPOCH, 7) + noise() + noise() + noise()).slice(0, 30);
}
