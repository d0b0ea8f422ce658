/**
 * A million messages, real ones and ones gone wrong, through everything that reads what strangers write. Nothing throws, and
 * what is read keeps its promises. Every run reads the same messages: a failure names the one that it failed at.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Base64 from "effect/encoding/Base64"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Json from "../../src/wire/Json.ts"
import * as AcceptPayment from "../../src/wire/mpp/AcceptPayment.ts"
import { baits, bytesOf, filled, settings, transactions } from "./baits.ts"
import * as Messages from "./mutations.ts"
import {
  check,
  digest,
  hash,
  readAccepted,
  readChallenge,
  readCredential,
  readDemand,
  readDigest,
  readEvent,
  readLine,
  readReceipt,
  readSnapshot,
  readTransaction
} from "./readers.ts"

const { Dice, mutate, mutateJson, nonsense } = Messages

const statuses = [402, 402, 402, 401, 200, 500] as const

interface Reading {
  readonly what: string
  readonly count: number
  /** The fewest that make sense, of a hundred: without, the reader is asleep. */
  readonly sense: number
  /** Whether there was sense in it. */
  readonly read: (dice: Messages.Dice) => boolean
}

const encodings = [Json.toBase64, Json.toBase64Url] as const

/** A header of base64 JSON: changed within, then as text. */
const encoded = (json: Schema.JsonObject, dice: Messages.Dice): string => {
  const header = dice.pick(encodings)(mutateJson(json, dice))
  return dice.roll() < 0.8 ? header : mutate(header, dice)
}

const decoded = (headers: ReadonlyArray<string>) => headers.map((header) => Option.getOrThrow(Json.fromBase64(header)))

const receiptJson = decoded(Messages.receipts)
const settlementJson = decoded(Messages.settlements)
const v2Json = Option.getOrThrow(Json.fromBase64(Messages.v2Header))

const readings: ReadonlyArray<Reading> = [
  {
    what: "WWW-Authenticate lines",
    count: 350_000,
    sense: 10,
    read: (dice) => {
      const line = dice.roll() < 0.85 ? mutate(dice.pick(Messages.lines) ?? "", dice) : `Payment ${nonsense(dice)}`
      if (dice.roll() < 0.25) readLine(line)
      const demand = readDemand({
        status: dice.pick(statuses),
        headers: { "www-authenticate": line, ...(dice.roll() < 0.1 ? { "retry-after": nonsense(dice) } : {}) },
        body: undefined
      })
      return demand.offers.length > 0
    }
  },
  {
    what: "requests",
    count: 200_000,
    sense: 20,
    read: (dice) => {
      const [challenge, json] = dice.pick([
        [Messages.challenges[0], Messages.tempoRequest],
        [Messages.challenges[2], Messages.evmRequest],
        [{ ...Messages.challenges[0], intent: "session" }, Messages.sessionRequest]
      ])
      const request = mutateJson(json, dice)
      if (dice.roll() < 0.1) {
        check(Json.canonical(request) === Json.canonical(JSON.parse(JSON.stringify(request))), "not canonical")
      }
      return readChallenge({ ...challenge, request: Json.toBase64Url(request) })
    }
  },
  {
    what: "snapshots of channels",
    count: 20_000,
    sense: 10,
    read: (dice) => readSnapshot(encoded(Messages.snapshot, dice))
  },
  {
    what: "events of streams",
    count: 20_000,
    sense: 10,
    read: (dice) => {
      const text = JSON.stringify(mutateJson(dice.pick([Messages.needVoucher, ...receiptJson]), dice))
      return readEvent(dice.roll() < 0.8 ? text : mutate(text, dice))
    }
  },
  {
    what: "x402 demands and settlements",
    count: 120_000,
    sense: 10,
    read: (dice) => {
      const demand = readDemand({
        status: dice.pick(statuses),
        headers: dice.roll() < 0.5
          ? { "payment-required": encoded(v2Json, dice) }
          : {
            [dice.pick(["payment-response", "x-payment-response"])]: encoded(dice.pick(settlementJson) ?? {}, dice)
          },
        body: undefined
      })
      return demand.offers.length > 0 || Option.isSome(demand.receipt)
    }
  },
  {
    what: "bodies",
    count: 120_000,
    sense: 10,
    read: (dice) => {
      const text = JSON.stringify(mutateJson(dice.pick(Messages.bodies), dice))
      const demand = readDemand({
        status: dice.pick(statuses),
        headers: { "content-type": dice.pick(["application/problem+json", "application/json", nonsense(dice)]) },
        body: dice.roll() < 0.8 ? text : mutate(text, dice)
      })
      return demand.offers.length > 0 || Option.isSome(demand.problem)
    }
  },
  {
    what: "credentials",
    count: 60_000,
    sense: 10,
    read: (dice) => {
      const header = Messages.credential(mutateJson(dice.pick(Messages.payloads), dice), dice.below(4))
      if (dice.roll() < 0.3) return readCredential(mutate(dice.roll() < 0.5 ? header : Messages.token, dice))
      const json = Option.getOrThrow(Json.fromBase64Url(header.slice("Payment ".length)))
      return readCredential(`Payment ${encoded(json, dice)}`)
    }
  },
  {
    what: "receipts",
    count: 60_000,
    sense: 10,
    read: (dice) => {
      const header = encoded(dice.pick(receiptJson) ?? {}, dice)
      readDemand({ status: dice.pick(statuses), headers: { "payment-receipt": header }, body: undefined })
      return readReceipt(header)
    }
  },
  {
    what: "Accept-Payment headers",
    count: 30_000,
    sense: 10,
    read: (dice) => readAccepted(dice.roll() < 0.8 ? mutate(dice.pick(Messages.accepted), dice) : nonsense(dice))
  },
  {
    what: "digests",
    count: 19_000,
    sense: 10,
    read: (dice) => readDigest(dice.roll() < 0.5 ? mutate(digest, dice) : mutate(`sha-256=${hash}`, dice))
  },
  {
    what: "transactions",
    count: 1_000,
    sense: 10,
    read: (dice) => {
      // A change in the signature is dear to read, and most are not.
      const at = 2 * dice.below(Messages.transaction.length / 2)
      const digits = dice.roll() < 0.5
        ? mutate(Messages.transaction, dice)
        : Messages.transaction.slice(0, at) + dice.below(256).toString(16).padStart(2, "0") +
          Messages.transaction.slice(at + 2)
      return readTransaction(digits)
    }
  }
]

describe("a million messages", () => {
  it("are a million", () => {
    assert.strictEqual(readings.reduce((sum, { count }) => sum + count, 0), 1_000_000)
  })

  for (const [seed, { count, read, sense, what }] of readings.entries()) {
    it(`are read without a throw: ${what}`, { timeout: 180_000 }, () => {
      const dice = new Dice(seed)
      let sensible = 0
      for (let at = 0; at < count; at++) {
        try {
          if (read(dice)) sensible++
        } catch (cause) {
          throw new Error(`${what}, number ${at}`, { cause })
        }
      }
      assert.isAbove(sensible * 100, sense * count)
    })
  }
})

describe("messages of the greatest length", () => {
  const everywhere = (text: string) => {
    readLine(text)
    readCredential(text)
    readReceipt(text)
    readAccepted(text)
    readDigest(text)
    readEvent(text)
    readSnapshot(text)
    readTransaction(text)
    readDemand({
      status: 402,
      headers: {
        "www-authenticate": text,
        "payment-required": text,
        "payment-response": text,
        "payment-receipt": text,
        "protocols-supported": text,
        "retry-after": text,
        "content-type": text
      },
      body: text
    })
  }

  it.each(baits)("are read in one pass: of %j", { timeout: 20_000 }, (bait) => {
    for (const setting of settings) {
      for (const length of [AcceptPayment.maxLength, Json.maxHeaderLength, Json.maxBodyLength]) {
        everywhere(filled(setting, bait, length, (text) => text.length))
      }
      const text = filled(setting, bait, Json.maxHeaderLength * 3 / 4 - bytesOf("Payment "), bytesOf)
      for (const header of [Base64.encode(text), Base64Url.encode(text)]) {
        everywhere(header)
        everywhere(`Payment ${header}`)
      }
    }
  })

  it.each(transactions(16_000))(
    "are read in one pass: transactions of %s",
    { timeout: 10_000 },
    (_, signed) => {
      // Shorter than headers: to look at each byte for each byte shows only if it is done often.
      for (let times = 0; times < 10; times++) {
        readTransaction(signed)
        readTransaction(`${signed.slice(0, -2)}ff`)
      }
    }
  )
})
