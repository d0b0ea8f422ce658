/**
 * Where the ledger of the executable is.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as UserDirectories from "effect/persistence/UserDirectories"
import * as Redacted from "effect/Redacted"
import { Usage } from "./Exit.ts"

/**
 * A file, or a database that several machines share. Its URL may hold a password.
 *
 * @category models
 * @since 0.1.0
 */
export type LedgerPlace =
  | { readonly _tag: "File"; readonly filename: string }
  | { readonly _tag: "Postgres"; readonly url: Redacted.Redacted }

const directories = (platform: string | undefined) => UserDirectories.make({ platform })

const homeless = () =>
  new Usage({ message: "The home directory of this user is not known. Name the ledger's file in MPP_LEDGER" })

/**
 * The ledger of a user who says nothing: `effect-mpp/ledger.sqlite` in the directory that the system has for the state of
 * programs (`$XDG_STATE_HOME`, or `~/.local/state` on Linux). Needs `HOME`, or `USERPROFILE` on Windows.
 *
 * @category config
 * @since 0.1.0
 */
export const defaultFilename = (platform?: string): Effect.Effect<string, Usage> =>
  Effect.mapBoth(directories(platform).state("effect-mpp"), {
    onFailure: homeless,
    onSuccess: (directory) => `${directory}${directory.includes("\\") ? "\\" : "/"}ledger.sqlite`
  })

/**
 * What `MPP_LEDGER` names: a `postgres://` URL or a file (`~/` is the home directory), or the default file.
 *
 * @category config
 * @since 0.1.0
 */
export const place = (platform?: string): Effect.Effect<LedgerPlace, Usage | Config.ConfigError> =>
  Effect.flatMap(
    named(platform),
    Option.match({ onNone: () => Effect.map(defaultFilename(platform), file), onSome: Effect.succeed })
  )

/**
 * The same for whoever signs nothing: none where nobody names a ledger, and there is no place for one.
 *
 * @category config
 * @since 0.1.0
 */
export const placeIfAny = (
  platform?: string
): Effect.Effect<Option.Option<LedgerPlace>, Usage | Config.ConfigError> =>
  Effect.flatMap(
    named(platform),
    Option.match({
      onNone: () => Effect.map(Effect.option(defaultFilename(platform)), Option.map(file)),
      onSome: Effect.succeedSome
    })
  )

const file = (filename: string): LedgerPlace => ({ _tag: "File", filename })

const named = (platform?: string) =>
  Effect.flatMap(
    Config.option(Config.Redacted("MPP_LEDGER")),
    (setting): Effect.Effect<Option.Option<LedgerPlace>, Usage> => {
      if (Option.isNone(setting)) return Effect.succeedNone
      const value = Redacted.value(setting.value)
      if (/^postgres(?:ql)?:\/\//i.test(value)) return Effect.succeedSome({ _tag: "Postgres", url: setting.value })
      // What it says may hold a password.
      if (/^[a-z][a-z0-9+.-]+:\/\//i.test(value)) {
        return Effect.fail(new Usage({ message: "MPP_LEDGER must be a file or a postgres:// URL, and is another URL" }))
      }
      return /^~[\\/]/.test(value)
        ? Effect.mapBoth(directories(platform).home, {
          onFailure: homeless,
          onSuccess: (home) => Option.some(file(home + value.slice(1)))
        })
        : Effect.succeedSome(file(value))
    }
  )
