/**
 * The environment of the executable, as configuration.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import type * as Layer from "effect/Layer"

/** What child processes, crash reports and curious dependencies must not find: a ledger's URL may hold a password. */
const secrets: ReadonlyArray<string> = ["MPP_PRIVATE_KEY", "TEMPO_CREDENTIAL", "MPP_LEDGER"]

/**
 * Takes a copy of an environment and deletes the secrets from the original. A variable that is set to nothing counts as
 * not set.
 *
 * @category constructors
 * @since 0.1.0
 */
export const take = (environment: { [name: string]: string | undefined }): { readonly [name: string]: string } => {
  const copy = Object.fromEntries(
    Object.entries(environment).flatMap(([name, value]) => value === undefined || value === "" ? [] : [[name, value]])
  )
  for (const name of secrets) delete environment[name]
  return copy
}

/**
 * Configuration from a copy that was taken.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (environment: { readonly [name: string]: string }): Layer.Layer<never> =>
  ConfigProvider.layer(ConfigProvider.fromEnv({ env: environment }))

/**
 * How the agent names itself.
 *
 * @category config
 * @since 0.1.0
 */
export const agentId = Config.String("MPP_AGENT_ID").pipe(Config.withDefault("default"))

/**
 * What is wrong with the configuration: the name of the setting and what it should be, never the value that it has.
 *
 * @category formatting
 * @since 0.1.0
 */
export const explain = (error: Config.ConfigError): string => {
  const [, expected, name] = /^(?:\w+\()?(.*?)\s*\n\s*at \["(\w+)"\]/s.exec(error.message) ?? []
  return name === undefined
    ? "The configuration could not be read"
    : `The setting ${name} cannot be used: ${expected?.replaceAll(/\s+/g, " ")}`
}
